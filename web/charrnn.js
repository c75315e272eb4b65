// Writes texts with a model, as charrnn/ does in Python: the same numbers into the same graph.

export class ModelError extends Error {} // its message is for people

const TOP_P = 0.95;
const ARGMAX_BELOW = 1e-3; // lower temperatures are treated as argmax
const FORBIDDEN = -1e5; // added to a logit

// ---- Random numbers: NumPy's default_rng(seed), https://numpy.org/doc/stable/reference/random/

const word64 = (n) => BigInt.asUintN(64, n);
const word128 = (n) => BigInt.asUintN(128, n);

/** The first `count` 64-bit words of NumPy's SeedSequence(seed), a BigInt below 2**64. */
function seedSequence(seed, count) {
  let constant = 0x43b0d7e5;
  const hashed = (value, multiplier) => {
    value ^= constant;
    constant = Math.imul(constant, multiplier);
    value = Math.imul(value, constant);
    return value ^ (value >>> 16);
  };
  const entropy = [Number(seed & 0xffffffffn), Number(seed >> 32n), 0, 0];
  const pool = entropy.map((value) => hashed(value, 0x931e8875));
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) {
      if (from === to) continue;
      const other = hashed(pool[from], 0x931e8875);
      const mixed = Math.imul(0xca01f9dd, pool[to]) - Math.imul(0x4973f715, other);
      pool[to] = mixed ^ (mixed >>> 16);
    }
  }
  constant = 0x8b51f9dd;
  const next = (n) => BigInt(hashed(pool[n % 4], 0x58f38ded) >>> 0);
  return Array.from({ length: count }, (_, n) => next(2 * n) | (next(2 * n + 1) << 32n));
}

/** PCG64 (XSL-RR 128/64), seeded as NumPy does. */
export class RandomNumbers {
  constructor(seed) {
    const [high, low, incrementHigh, incrementLow] = seedSequence(seed, 4);
    this.increment = word128((((incrementHigh << 64n) | incrementLow) << 1n) | 1n);
    this.state = 0n;
    this.nextWord();
    this.state = word128(this.state + ((high << 64n) | low));
    this.nextWord();
    this.half = null; // of a 64-bit word, kept for the next float
  }

  /** A uniform 64-bit integer, as BigInt. */
  nextWord() {
    const multiplier = 0x2360ed051fc65da44385df649fccf645n;
    this.state = word128(this.state * multiplier + this.increment);
    const folded = word64(this.state ^ (this.state >> 64n));
    const rotation = this.state >> 122n;
    return word64((folded >> rotation) | (folded << (64n - rotation)));
  }

  /** `count` uniform numbers in [0, 1), as Generator.random(count, float32). */
  floats(count) {
    return Float32Array.from({ length: count }, () => {
      let bits = this.half;
      if (bits === null) {
        const word = this.nextWord();
        bits = Number(word & 0xffffffffn);
        this.half = Number(word >> 32n);
      } else this.half = null;
      return (bits >>> 8) / 2 ** 24;
    });
  }
}

// ---- Characters <-> ids: see charrnn/vocabulary.py

const PLAIN = new Map([
  ...Array.from("’‘‛′‚", (c) => [c, "'"]),
  ...Array.from("“”„‟″«»", (c) => [c, '"']),
  ...Array.from("‐‑‒–−", (c) => [c, "-"]),
  ...Array.from("—―", (c) => [c, "--"]),
  ["…", "..."],
  ...Array.from("\u00a0\u1680\u202f\u205f\u3000", (c) => [c, " "]),
  ...Array.from({ length: 11 }, (_, n) => [String.fromCharCode(0x2000 + n), " "]),
  ...Array.from("\v\f\u0085\u2028", (c) => [c, "\n"]),
  ["\u2029", "\n\n"],
  ["\ufeff", ""],
]);

export class Vocabulary {
  constructor(characters) {
    this.characters = Array.from(characters);
    this.ids = new Map(this.characters.map((character, id) => [character, id]));
    if (!this.ids.size || this.ids.size !== this.characters.length)
      throw new ModelError("The vocabulary in card.json is empty, or has a character twice.");
    this.lowercase = characters === characters.toLowerCase();
    // Typographic characters stand for plain ones that the model does not know.
    this.substitutes = new Map(this.ids);
    const known = [...PLAIN.keys()].filter((character) => this.ids.has(character));
    const compatible = this.characters.map((c) => [c, c.normalize("NFKC")]);
    for (const [other, plain] of [...known.map((c) => [c, PLAIN.get(c)]), ...compatible])
      if (!this.substitutes.has(plain)) this.substitutes.set(plain, this.ids.get(other));
  }

  /** The ids of `text`, with the nearest known spelling of unknown characters; and the distinct
   * characters and accents that have none, `dropped`. */
  encode(text) {
    text = text.replace(/\r\n?/g, "\n");
    for (const written of this.lowercase ? [text, text.toLowerCase()] : [text]) {
      const ids = this.idsOf(written, this.ids);
      if (ids) return { ids, dropped: "" };
    }
    const spelled = Array.from(text.normalize("NFC"), (character) => this.spell(character));
    const lost = spelled.map((spelling) => spelling.lost).join("");
    return { ids: spelled.flatMap((spelling) => spelling.ids), dropped: [...new Set(lost)].join("") };
  }

  spell(character) {
    for (const [spelling, lost] of spellings(character)) {
      if (!spelling) continue;
      const ids = this.idsOf(spelling, this.ids) ?? this.idsOf(spelling, this.substitutes);
      if (ids) return { ids, lost };
    }
    return { ids: [], lost: character };
  }

  idsOf(text, among) {
    const ids = Array.from(text, (character) => among.get(character));
    return ids.includes(undefined) ? null : ids;
  }

  decode(ids) {
    return Array.from(ids, (id) => this.characters[id]).join("");
  }
}

/** Ways to write a character, nearest first, and the accents that each loses. */
function* spellings(character) {
  const plain = PLAIN.get(character) ?? character;
  for (const form of [character, plain, plain.normalize("NFKC")])
    for (const cased of cases(form)) {
      yield [cased, ""];
      yield [cased.normalize("NFD"), ""];
    }
  const decomposed = plain.normalize("NFKD");
  const accents = decomposed.replace(/\P{Mn}/gu, "");
  for (const cased of cases(decomposed.replace(/\p{Mn}/gu, ""))) yield [cased, accents];
  if (/(?!\ufeff)[\s\x1c-\x1f\x85]/u.test(character)) yield [" ", ""];
}

function cases(text) {
  const lower = text.toLowerCase().replace("i\u0307", "i"); // of the Turkish İ
  const folded = lower === "ı" ? lower : lower.toUpperCase().toLowerCase(); // ß is ss
  const upper = text.toUpperCase();
  return [text, lower, folded, upper, upper.toLowerCase()];
}

// ---- The verbatim guard: see charrnn/verbatim.py

/** Keeps a text from copying more than `longest` characters in a row from the training text. */
export class VerbatimGuard {
  /** From the arrays of guard.npz. */
  constructor({ limits, runs, followers, blocks }) {
    [this.longest, this.characters] = Array.from(limits, Number);
    this.block = (this.longest + 1) >> 1;
    this.runs = runs; // sorted hashes of all runs of `longest` characters
    this.followers = followers; // the id after each run
    this.blocks = blocks; // sorted hashes of all runs of `block` characters
    const random = new RandomNumbers(0n);
    this.values = Array.from({ length: this.characters + 1 }, () => random.nextWord());
  }

  /** Watches a text that begins with these ids. */
  begin(ids) {
    const before = Array(this.longest).fill(this.characters); // stands before the beginning
    this.recent = [...before, ...ids].slice(-this.longest);
    this.written = 0;
    this.suspect = false;
  }

  /** How many characters may be written now, and the ids that must not be next. */
  nextSteps() {
    // A run that is too long contains a whole block, wherever blocks begin.
    if (this.written % this.block === 0) {
      const hash = this.hash(this.recent.slice(-this.block));
      this.suspect = this.blocks[firstAtLeast(this.blocks, hash)] === hash;
    }
    if (!this.suspect) return { steps: this.block, forbidden: [] };
    const hash = this.hash(this.recent);
    const forbidden = [];
    for (let n = firstAtLeast(this.runs, hash); this.runs[n] === hash; n++)
      forbidden.push(this.followers[n]);
    return { steps: 1, forbidden };
  }

  append(ids) {
    this.recent = [...this.recent, ...ids].slice(-this.longest);
    this.written += ids.length;
  }

  hash(ids) {
    return ids.reduce((hash, id) => word64(hash * 0x9e3779b97f4a7c15n + this.values[id]), 0n);
  }
}

function firstAtLeast(sorted, value) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// ---- Writing: see charrnn/engine.py and charrnn/generation.py

export class Model {
  /** `ort` is onnxruntime-web; `card` the content of card.json; `graph` the bytes of model.onnx;
   * `guard` a VerbatimGuard or null. */
  static async load(ort, card, graph, guard) {
    const options = { executionProviders: ["wasm"], logSeverityLevel: 3 };
    let session;
    try {
      session = await ort.InferenceSession.create(graph, options);
    } catch (error) {
      throw new ModelError(`model.onnx cannot be loaded: ${firstLine(error)}`);
    }
    return new Model(ort, card, session, guard);
  }

  constructor(ort, card, session, guard) {
    this.ort = ort;
    this.session = session;
    this.guard = guard;
    this.vocabulary = new Vocabulary(card.vocabulary);
    this.spec = card.spec;
    if (this.vocabulary.characters.length !== this.spec.characters)
      throw new ModelError("The vocabulary in card.json does not fit its spec.");
    this.opening = this.vocabulary.encode(card.opening).ids;
    if (this.opening.length < this.spec.window)
      throw new ModelError("The opening in card.json is too short.");
  }

  /** Yields a text of `length` characters in pieces of at most `piece`. `seed` is a list of ids,
   * `randomSeed` a BigInt. */
  async *write(seed, { temperature, randomSeed, length, piece }) {
    const uniform = new RandomNumbers(randomSeed).floats(length);
    const window = [...this.opening, ...seed].slice(-this.spec.window);
    let state = await this.read(window.slice(0, -1));
    let last = window.at(-1);
    this.guard?.begin(seed);
    for (let n = 0; n < length; ) {
      const { steps, forbidden } = this.guard?.nextSteps() ?? { steps: piece, forbidden: [] };
      const numbers = uniform.subarray(n, n + Math.min(steps, piece));
      const result = await this.run("chosen", last, state, numbers, temperature, forbidden);
      const ids = Array.from(result.chosen.data);
      state = result.next_state;
      last = ids.at(-1);
      n += ids.length;
      this.guard?.append(ids);
      yield this.vocabulary.decode(ids);
    }
  }

  /** The state after reading these ids from the zero state. */
  async read(ids) {
    const size = 2 * this.spec.units.reduce((sum, units) => sum + units, 0);
    // A stateless model has a row for each window in progress, so none yet.
    const rows = this.spec.stateful ? 1 : 0;
    let state = new this.ort.Tensor("float32", new Float32Array(rows * size), [rows, size]);
    // What is chosen is not used, so the sampling does not matter.
    const number = new Float32Array(1);
    for (const id of ids) state = (await this.run(null, id, state, number, 1, [])).next_state;
    return state;
  }

  async run(output, id, state, uniform, temperature, forbidden) {
    const { Tensor } = this.ort;
    const characters = this.spec.characters;
    const sharpness = 1 / Math.max(temperature, ARGMAX_BELOW);
    const lastRank = temperature < ARGMAX_BELOW ? 0 : characters - 1;
    const bias = new Float32Array(characters);
    for (const other of forbidden) bias[other] = FORBIDDEN;
    const inputs = {
      ids: new Tensor("int32", [id], [1]),
      state,
      uniform: new Tensor("float32", uniform, [uniform.length, 1, 1]),
      sharpness: new Tensor("float32", [sharpness], [1, 1]),
      top_p: new Tensor("float32", [TOP_P], [1, 1]),
      last_rank: new Tensor("int64", [BigInt(lastRank)], [1, 1]),
      bias: new Tensor("float32", bias, [1, characters]),
    };
    try {
      return await this.session.run(inputs, output ? [output, "next_state"] : ["next_state"]);
    } catch (error) {
      throw new ModelError(`model.onnx does not fit card.json: ${firstLine(error)}`);
    }
  }
}

function firstLine(error) {
  return String(error?.message ?? error).split("\n")[0].slice(0, 200);
}
