// Runs once, when the data directory is empty: the user that Turnpike connects as. It may read and write its own
// database, and change validators and indexes there, which `turnpike migrate` does.
db.getSiblingDB("admin").createUser({
  user: "turnpike",
  pwd: process.env.MONGODB_PASSWORD,
  roles: [
    { role: "readWrite", db: "turnpike" },
    { role: "dbAdmin", db: "turnpike" },
  ],
});
