// Draws the newest picture and reports pointer, wheel and keys. Pictures are decoded off screen, so none is ever shown half.

const NEAR_THE_LINE = 14; // CSS pixels
const KEYS = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "+", "=", "-", "[", "]", "Home"]);

function decode(view) {
  return createImageBitmap(new Blob([new Uint8Array(view.buffer, view.byteOffset, view.byteLength)], { type: "image/png" }));
}

function render({ model, el }) {
  const box = document.createElement("div");
  const canvas = document.createElement("canvas");
  const hint = document.createElement("div");
  box.className = "xr-picture";
  hint.className = "xr-hint";
  box.tabIndex = 0;
  canvas.dataset.frames = "0";
  box.append(canvas);
  el.append(box, hint);

  const bitmaps = { front: null, back: null };
  const asked = { front: 0, back: 0 };
  let drawn = 0;

  function paint() {
    const { front, back } = bitmaps;
    if (!front) return;
    if (canvas.width !== front.width || canvas.height !== front.height) {
      canvas.width = front.width;
      canvas.height = front.height;
    }
    const pen = canvas.getContext("2d");
    const split = model.get("split");
    pen.drawImage(front, 0, 0);
    if (split !== null && back) {
      const x = split * canvas.width;
      pen.save();
      pen.beginPath();
      pen.rect(x, 0, canvas.width - x, canvas.height);
      pen.clip();
      pen.drawImage(back, 0, 0, canvas.width, canvas.height);
      pen.restore();
      pen.fillStyle = "#ffd24d";
      pen.fillRect(x - canvas.width / 512, 0, canvas.width / 256, canvas.height);
    }
    drawn += 1;
    canvas.dataset.frames = String(drawn);
  }

  async function load(which) {
    const bytes = model.get(which);
    const mine = ++asked[which];
    if (!bytes || !bytes.byteLength) return;
    const bitmap = await decode(bytes);
    if (mine !== asked[which]) return; // a newer one is on its way
    bitmaps[which] = bitmap;
    paint();
  }

  function describe() {
    canvas.style.width = `${model.get("width")}px`;
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", model.get("label"));
    hint.textContent = model.get("hint");
    hint.style.width = `${model.get("width")}px`;
  }

  const gesture = { press: 0, dx: 0, dy: 0, turn: false, roll: false, wheel: 0, keys: {} };
  function recall() {
    const known = model.get("gesture"); // counted on by every view of this canvas
    if (known && known.keys) Object.assign(gesture, known, { keys: { ...known.keys } });
  }
  function report() {
    model.set("gesture", { ...gesture, keys: { ...gesture.keys } });
    model.save_changes(); // while the kernel is busy, only the newest waits
  }

  let held = null;
  const nearLine = (event) => {
    const split = model.get("split");
    const frame = canvas.getBoundingClientRect();
    return split !== null && Math.abs(event.clientX - frame.left - split * frame.width) < NEAR_THE_LINE;
  };
  box.addEventListener("pointerdown", (event) => {
    held = nearLine(event) ? { line: true } : { line: false, x: event.clientX, y: event.clientY };
    if (!held.line) {
      recall();
      Object.assign(gesture, { press: gesture.press + 1, dx: 0, dy: 0, turn: event.shiftKey, roll: event.altKey });
      report(); // or else a wheel turn or a key before the first move would recall the drag before
    }
    box.setPointerCapture(event.pointerId);
    box.focus({ preventScroll: true });
    canvas.classList.add("xr-held");
    event.preventDefault();
  });
  box.addEventListener("pointermove", (event) => {
    canvas.classList.toggle("xr-on-line", nearLine(event) || Boolean(held && held.line));
    if (!held) return;
    const frame = canvas.getBoundingClientRect();
    if (held.line) {
      model.set("split", Math.min(1, Math.max(0, (event.clientX - frame.left) / frame.width)));
      model.save_changes();
    } else {
      gesture.dx = (event.clientX - held.x) / frame.width;
      gesture.dy = (event.clientY - held.y) / frame.width;
      report();
    }
  });
  const release = () => {
    held = null;
    canvas.classList.remove("xr-held");
  };
  box.addEventListener("pointerup", release);
  box.addEventListener("pointercancel", release);
  box.addEventListener(
    "wheel",
    (event) => {
      if (document.activeElement !== box) return; // a page that is being scrolled past stays scrollable
      event.preventDefault();
      recall();
      gesture.wheel += event.deltaY === 0 ? 0 : Math.sign(event.deltaY);
      report();
    },
    { passive: false },
  );
  box.addEventListener("keydown", (event) => {
    if (!KEYS.has(event.key) || event.ctrlKey || event.metaKey) return;
    const name = (event.shiftKey && event.key.startsWith("Arrow") ? "Shift+" : "") + event.key;
    recall();
    gesture.keys[name] = (gesture.keys[name] || 0) + 1;
    report();
    event.preventDefault();
    event.stopPropagation(); // the notebook has keys of its own
  });

  const loadFront = () => load("front");
  const loadBack = () => load("back");
  model.on("change:front", loadFront);
  model.on("change:back", loadBack);
  model.on("change:split", paint);
  model.on("change:width change:label change:hint", describe);
  describe();
  loadBack();
  loadFront();
  return () => {
    model.off("change:front", loadFront);
    model.off("change:back", loadBack);
    model.off("change:split", paint);
    model.off("change:width change:label change:hint", describe);
  };
}

export default { render };
