// Reads the files of a model, which may be a stranger's: card.json, model.onnx, guard.npz, one by
// one or in a .zip.

import { ModelError, VerbatimGuard } from "./charrnn.js";

const FORMAT = 2; // of card.json
const CARD = "card.json";
const GRAPH = "model.onnx";
const GUARD = "guard.npz";
const MAX_BYTES = 256 * 2 ** 20; // of one file; the shipped models' largest has 8 MB
const MAX_LONGEST = 10_000; // characters that a guard may let pass

/** The files of a model by name, as bytes, from files that somebody chose. */
export async function unpacked(chosen) {
  const files = new Map();
  for (const file of chosen) {
    if (file.size > 2 * MAX_BYTES) throw new ModelError(`${file.name} is too large for a model.`);
    const read = /\.zip$/i.test(file.name) || ![CARD, GRAPH, GUARD].includes(file.name)
      ? await unzipped(await bytesOf(file), file.name, [CARD, GRAPH, GUARD])
      : new Map([[file.name, await bytesOf(file)]]);
    for (const [name, content] of read) files.set(name, content);
  }
  return files;
}

/** The card, the graph's bytes and the guard, if the model has one. */
export async function checked(files) {
  if (!files.has(CARD) || !files.has(GRAPH))
    throw new ModelError(
      `A model needs ${CARD} and ${GRAPH}. Choose both, or the .zip that /models gave you.`,
    );
  const card = readCard(files.get(CARD));
  await check(GRAPH, files, card);
  if (!card.sha256[GUARD]) return { card, graph: files.get(GRAPH), guard: null };
  if (!files.has(GUARD))
    throw new ModelError(
      `${GUARD} is missing. Without it, this model could copy the messages that it learnt from.`,
    );
  await check(GUARD, files, card);
  const arrays = await readArrays(files.get(GUARD));
  const [longest, characters] = Array.from(arrays.limits, Number);
  if (!(longest > 0 && longest <= MAX_LONGEST && characters === card.spec.characters))
    throw damaged(GUARD);
  return { card, graph: files.get(GRAPH), guard: new VerbatimGuard(arrays) };
}

function readCard(bytes) {
  let card;
  try {
    card = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new ModelError(`${CARD} is not a charrnn model card.`);
  }
  if (card?.format !== FORMAT)
    throw new ModelError(`${CARD} is not a charrnn model card of format ${FORMAT}.`);
  const { spec, vocabulary, opening, sha256, speakers = [] } = card;
  const isSize = (n) => Number.isInteger(n) && n > 0 && n < 1e6;
  const right =
    [spec?.characters, spec?.window].every(isSize) &&
    Array.isArray(spec.units) &&
    spec.units.length > 0 &&
    spec.units.every(isSize) &&
    typeof spec.stateful === "boolean" &&
    [vocabulary, opening, sha256?.[GRAPH]].every((text) => typeof text === "string") &&
    Array.isArray(speakers) &&
    speakers.every((name) => typeof name === "string");
  if (!right) throw new ModelError(`${CARD} has a missing or wrong entry.`);
  return { spec, vocabulary, opening, sha256, speakers };
}

async function check(name, files, card) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", files.get(name)));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== card.sha256[name])
    throw new ModelError(`${name} is damaged, or belongs to another ${CARD}.`);
}

/** The arrays of a NumPy archive of integers, by name. */
async function readArrays(bytes) {
  const types = { "<u8": BigUint64Array, "<i8": BigInt64Array, "<i4": Int32Array };
  const names = ["limits", "runs", "followers", "blocks"];
  const files = await unzipped(bytes, GUARD, names.map((name) => `${name}.npy`));
  const arrays = {};
  for (const name of names) {
    // A header of 10 bytes, then its text, which is a Python literal; then the numbers.
    const file = files.get(`${name}.npy`) ?? new Uint8Array(10);
    const start = 10 + new DataView(file.buffer, file.byteOffset).getUint16(8, true);
    const header = new TextDecoder().decode(file.subarray(10, start));
    const type = types[/'descr': '(...)'/.exec(header)?.[1]];
    const count = Number(/'shape': \((\d+),\)/.exec(header)?.[1] ?? NaN);
    if (!type || file.length - start !== count * type.BYTES_PER_ELEMENT) throw damaged(GUARD);
    arrays[name] = new type(file.slice(start).buffer);
  }
  if (arrays.limits.length !== 2 || arrays.runs.length !== arrays.followers.length)
    throw damaged(GUARD);
  return arrays;
}

/** The files of these names in a .zip, wherever in its folders:
 * https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT */
async function unzipped(bytes, zip, names) {
  const files = new Map();
  try {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let end = bytes.length - 22; // the end record, followed by a comment of known length
    const isEnd = () =>
      view.getUint32(end, true) === 0x06054b50 &&
      end + 22 + view.getUint16(end + 20, true) === bytes.length;
    while (!isEnd()) end--;
    let entry = view.getUint32(end + 16, true);
    for (let left = view.getUint16(end + 10, true); left > 0; left--) {
      const [nameLength, extra, comment] = [28, 30, 32].map((at) => view.getUint16(entry + at, true));
      const [packed, size] = [20, 24].map((at) => view.getUint32(entry + at, true));
      const path = new TextDecoder().decode(bytes.subarray(entry + 46, entry + 46 + nameLength));
      const name = path.split("/").at(-1);
      if (names.includes(name)) {
        const local = view.getUint32(entry + 42, true);
        const [skipped, more] = [26, 28].map((at) => view.getUint16(local + at, true));
        const start = local + 30 + skipped + more;
        const content = bytes.subarray(start, start + packed);
        const method = view.getUint16(entry + 10, true);
        const file = method === 8 ? await inflated(content, size) : content;
        if (![0, 8].includes(method) || file.length !== size) throw damaged(zip);
        files.set(name, file);
      }
      entry += 46 + nameLength + extra + comment;
    }
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) throw damaged(zip);
    throw error;
  }
  return files;
}

/** Decompresses to `size` bytes, and stops where there are more. */
async function inflated(content, size) {
  if (size > MAX_BYTES) throw new ModelError("A file in the .zip is too large for a model.");
  const file = new Uint8Array(size);
  const stream = new Blob([content]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  let length = 0;
  for (const reader = stream.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return file.subarray(0, length);
    file.set(value, length); // raises RangeError where it does not fit
    length += value.length;
  }
}

function damaged(name) {
  return new ModelError(`${name} is damaged.`);
}

async function bytesOf(file) {
  return new Uint8Array(await file.arrayBuffer());
}
