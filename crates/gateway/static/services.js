// The dots in the corner: how each service is.

const ui = Object.fromEntries(
  ["services", "service-list", "health", "health-text"].map((id) => [id, document.getElementById(id)]),
);

/** A new element with a class and a text. */
export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const STATES = {
  SERVICE_STATE_SERVING: ["good", "serving"],
  SERVICE_STATE_STARTING: ["warn", "starting"],
  SERVICE_STATE_DRAINING: ["warn", "restarting"],
  SERVICE_STATE_NOT_SERVING: ["bad", "not serving"],
};

function describe({ status, error }) {
  if (!status) return ["bad", error || "does not answer"];
  const [state, words] = STATES[status.state] ?? ["warn", "unknown"];
  const memory = status.rss_bytes ? `${Math.round(status.rss_bytes / 1048576)} MB` : "";
  return [state, [words, status.engine, status.model, memory].filter(Boolean).join(" · ")];
}

async function look() {
  if (document.hidden) return;
  let missing = [];
  try {
    const { services } = await (await fetch("/status")).json();
    ui["service-list"].replaceChildren(...services.map((at) => {
      const [state, words] = describe(at);
      if (state !== "good") missing.push(at.service);
      const item = element("li");
      const dot = element("span", "dot");
      dot.dataset.state = state;
      dot.setAttribute("aria-hidden", "true");
      item.append(dot, element("span", "name", at.service), element("span", "what", words));
      return item;
    }));
  } catch {
    missing = ["gateway"];
  }
  const essential = missing.some((name) => ["gateway", "agent-svc", "llm-svc"].includes(name));
  ui.health.dataset.state = missing.length === 0 ? "good" : essential ? "bad" : "warn";
  ui["health-text"].textContent = missing.length === 0 ? "All services ready" : missing.length === 1 ? `${missing[0]} is missing` : `${missing.length} services are missing`;
}

/** Looks every few seconds, while somebody sees it. */
export function watchServices() {
  document.addEventListener("visibilitychange", look);
  document.addEventListener("click", (event) => {
    if (!ui.services.contains(event.target)) ui.services.open = false;
  });
  setInterval(look, 5000);
  look();
}
