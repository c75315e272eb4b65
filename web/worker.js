// Loads ONNX Runtime and a model, and writes, beside the page, which so stays responsive.

import { Model, ModelError } from "./charrnn.js";
import { checked, unpacked } from "./files.js";

const PIECE = 25; // characters that appear at once

let runtime; // a promise of ONNX Runtime, loaded once
let model;
let wanted = 0; // the number of the last request
let last = Promise.resolve(); // one request after the other

onmessage = ({ data }) => {
  wanted = data.request;
  last = last.then(() => answer(data)).catch((error) => {
    const known = error instanceof ModelError;
    if (!known) console.error(error);
    postMessage({ request: data.request, error: known ? error.message : `This failed: ${error}` });
  });
};

async function answer(data) {
  if (data.do === "load") await load(data);
  else if (data.do === "write") await write(data);
}

async function load({ request, path, chosen }) {
  const loading = (runtime ??= loadRuntime());
  loading.catch(() => (runtime = undefined)); // the next request tries again
  const { card, graph, guard } = await checked(await (path ? fetched(path) : unpacked(chosen)));
  const before = model;
  model = await Model.load(await loading, card, graph, guard);
  await before?.session.release();
  postMessage({ request, speakers: card.speakers, guarded: guard ? guard.longest : null });
}

async function write({ request, seed, ...options }) {
  const { ids, dropped } = model.vocabulary.encode(seed);
  postMessage({ request, dropped });
  for await (const text of model.write(ids, { ...options, piece: PIECE })) {
    await new Promise((resolve) => setTimeout(resolve)); // lets a request to stop arrive
    if (request !== wanted) break;
    postMessage({ request, text });
  }
  postMessage({ request, done: true });
}

async function loadRuntime() {
  const { version, folder, files } = await (await fetch("runtime.json")).json();
  const [code, wasmBinary] = await Promise.all(
    // With subresource integrity: a file that differs is refused.
    Object.entries(files).map(([name, integrity]) =>
      bytesAt(folder + name, { integrity }).catch(() => {
        throw new ModelError(
          `ONNX Runtime cannot be loaded. Either ${folder}${name} cannot be reached, or it is not ` +
            `the file of onnxruntime-web ${version}.`,
        );
      }),
    ),
  );
  const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const ort = await import(address);
  ort.env.wasm.wasmBinary = wasmBinary;
  ort.env.wasm.numThreads = 1; // more need headers that static sites do not send
  return ort;
}

async function fetched(path) {
  const files = new Map();
  const read = async (name) => files.set(name, await bytesAt(`${path}/${name}`));
  await Promise.all(["card.json", "model.onnx"].map(read));
  const card = JSON.parse(new TextDecoder().decode(files.get("card.json")));
  if (card.sha256?.["guard.npz"]) await read("guard.npz");
  return files;
}

async function bytesAt(address, options) {
  const response = await fetch(address, options);
  if (!response.ok) throw new ModelError(`${address} cannot be loaded: ${response.status}.`);
  return new Uint8Array(await response.arrayBuffer());
}
