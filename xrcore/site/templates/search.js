// Finds names of the reference; INDEX, written above, holds [name, address, summary]. Nothing is loaded from anywhere.
(() => {
  const box = document.querySelector(".search");
  const input = document.getElementById("search");
  const list = document.getElementById("found");
  const MOST = 12;
  box.hidden = false;

  // the contents scroll by themselves beside a long page: begin where the reader is
  const contents = document.getElementById("contents");
  const here = contents.querySelector("li > [aria-current]");
  if (here && contents.scrollHeight > contents.clientHeight) contents.scrollTop = here.offsetTop - contents.clientHeight / 3;

  const rank = ([name], words) => {
    const lower = name.toLowerCase();
    const last = lower.slice(lower.lastIndexOf(".") + 1);
    if (!words.every((word) => lower.includes(word))) return Infinity;
    const [word] = words;
    return (last === word ? 0 : last.startsWith(word) ? 1 : last.includes(word) ? 2 : 3) + name.length / 1000;
  };

  const show = () => {
    const words = input.value.toLowerCase().replace(/^xr(core)?\./, "").split(/\s+/).filter(Boolean);
    const best = words.length ? INDEX.map((row) => [rank(row, words), row]).filter(([score]) => score < Infinity) : [];
    best.sort((a, b) => a[0] - b[0]);
    list.replaceChildren(
      ...best.slice(0, MOST).map(([, [name, address, summary]]) => {
        const link = document.createElement("a");
        link.href = address;
        const code = document.createElement("code");
        code.textContent = name;
        const about = document.createElement("span");
        about.textContent = `${address.replace(/^api_?|\.html.*$/g, "") || "xrcore"} · ${summary}`;
        link.append(code, about);
        const item = document.createElement("li");
        item.append(link);
        return item;
      }),
    );
    if (words.length && !best.length) {
      const item = document.createElement("li");
      item.textContent = "No such name.";
      list.append(item);
    }
  };

  input.addEventListener("input", show);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") list.querySelector("a")?.click();
    if (event.key === "Escape") { input.value = ""; show(); }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
    event.preventDefault();
    input.focus();
  });
})();
