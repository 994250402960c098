// Copies a text and says so on the button.

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // pages that are not served securely have no clipboard; a selected field does
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    if (!done) throw new Error("copying is not allowed here");
  }
}

function render({ model, el }) {
  const button = document.createElement("button");
  button.className = "jupyter-button widget-button xr-copy";
  const name = () => (button.textContent = model.get("description"));
  name();
  button.addEventListener("click", async () => {
    try {
      await copy(model.get("text"));
      button.textContent = "copied";
    } catch (error) {
      button.textContent = error.message;
    }
    setTimeout(name, 1500);
  });
  model.on("change:description", name);
  el.append(button);
  return () => model.off("change:description", name);
}

export default { render };
