// Reports once the page has drawn what was sent before the request.

function initialize({ model }) {
  const report = () =>
    requestAnimationFrame(() =>
      setTimeout(() => {
        model.set("drawn", model.get("requested"));
        model.save_changes();
      }),
    );
  model.on("change:requested", report);
  return () => model.off("change:requested", report);
}

export default { initialize, render() {} };
