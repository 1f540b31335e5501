// Shows /openapi.json with Swagger UI, in the reader's colours. Nothing is asked of another host, and keys that are typed in
// are gone with the page.

const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const dress = () => root.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", dress);
dress();

globalThis.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#interface",
  presets: [globalThis.SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  // It would send the description to a service that checks it.
  validatorUrl: null,
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  defaultModelExpandDepth: 3,
  filter: true,
  persistAuthorization: false,
  onComplete: () => { root.dataset.state = "ready"; },
});
