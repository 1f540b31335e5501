// Checks custom resources against the schemas of their packages: a JSON list on standard input, findings on standard
// output, one a line. A field that the schema does not know is one that its check never looks at.
const models = {};
try {
  models["keda.sh/v1alpha1"] = await import("@kubernetes-models/keda/keda.sh/v1alpha1");
  models["monitoring.coreos.com/v1"] = await import("@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1");
} catch (error) {
  console.error(error.message);
  process.exit(3);
}

let input = "";
for await (const chunk of process.stdin) input += chunk;
for (const resource of JSON.parse(input)) {
  const name = `${resource.kind} ${resource.metadata.name}`;
  const Model = models[resource.apiVersion]?.[resource.kind];
  if (!Model) {
    console.log(`${name}: ${resource.apiVersion} has no ${resource.kind}`);
    continue;
  }
  const seen = new Set();
  try {
    new Model(resource).validate();
    const watched = new Model(resource);
    watched.spec = watch(resource.spec, "spec", seen);
    watched.validate();
  } catch (error) {
    console.log(`${name}: ${error.message}`);
    continue;
  }
  for (const path of unknown(resource.spec, "spec", seen)) console.log(`${name}: there is no field ${path}`);
}

/** The same data, noting every field that is read. */
function watch(data, path, seen) {
  if (data === null || typeof data !== "object") return data;
  return new Proxy(data, {
    get(target, key) {
      if (typeof key === "symbol") return target[key];
      const below = Array.isArray(target) ? `${path}[${key}]` : `${path}.${key}`;
      seen.add(below);
      return watch(target[key], below, seen);
    },
  });
}

/** Fields that are there and were not read; what lies below such a field is part of it. */
function* unknown(data, path, seen) {
  if (data === null || typeof data !== "object") return;
  for (const [key, value] of Object.entries(data)) {
    const below = Array.isArray(data) ? `${path}[${key}]` : `${path}.${key}`;
    if (seen.has(below)) yield* unknown(value, below, seen);
    else yield below;
  }
}
