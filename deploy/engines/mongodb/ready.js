// Whether this server takes writes. The first time it makes the replica set, of this one member: writes with majority
// and the retries of the driver need one. Run by the root user.
const self = process.env.MONGODB_HOST ?? "mongodb:27017";
try {
  rs.status();
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: self }] });
}
quit(db.hello().isWritablePrimary ? 0 : 1);
