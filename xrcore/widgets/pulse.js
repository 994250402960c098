// Answers once the page has drawn what was sent before the question.

function initialize({ model }) {
  const answer = () =>
    requestAnimationFrame(() =>
      setTimeout(() => {
        model.set("answered", model.get("asked"));
        model.save_changes();
      }),
    );
  model.on("change:asked", answer);
  return () => model.off("change:asked", answer);
}

export default { initialize, render() {} };
