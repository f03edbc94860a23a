// Where a page's pictures come from: files that are chosen or dropped, the camera, a name in the page's address.

/** To the nearest whole number, halves to the even one, as Python rounds. */
export function rounded(value) {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2) : Math.round(value);
}

/** The camera; one stream at a time. */
export class Camera {
  get running() { return this.stream !== undefined; }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = undefined;
  }

  /** Calls `look(video)` for frame after frame, until it is stopped or started again. */
  async watch(look, failed) {
    this.stop();
    const mine = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    this.stop(); // of a second click meanwhile
    this.stream = mine;
    const video = document.createElement("video");
    [video.srcObject, video.muted, video.playsInline] = [mine, true, true];
    await video.play();
    const frame = async () => {
      if (this.stream !== mine) return;
      await look(video);
      requestAnimationFrame(() => frame().catch(failed));
    };
    await frame();
  }
}

/** The pixels of a file as stored: a network never saw colours corrected for a screen. */
export const decoded = (blob) => createImageBitmap(blob, { colorSpaceConversion: "none" });

/** Files go to `open`, a click on #camera to `camera`; nothing before `ready()`, when there is nothing to ask yet. */
export function listen({ ready, open, camera, failed }) {
  const drop = document.getElementById("drop");
  const take = (file) => file && ready() && open(file).catch(failed);
  document.getElementById("file").addEventListener("change", (event) => take(event.target.files[0]));
  document.getElementById("camera").addEventListener("click", () => ready() && camera().catch(failed));
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") take(event.dataTransfer.files[0]);
    });
  }
}

/** The picture of this server that ?picture= names, and the other parameters; nothing where none is named. */
export async function named() {
  const given = new URLSearchParams(location.search);
  if (!given.has("picture")) return undefined;
  const address = new URL(given.get("picture"), location.href);
  if (address.origin !== location.origin) throw new Error("?picture= takes a picture of this server alone");
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`no picture ${given.get("picture")}`);
  return { blob: await answer.blob(), given };
}
