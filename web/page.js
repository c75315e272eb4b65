// What people see and press. The worker does the work.

const LENGTH = 500; // characters to write
const MAX_RANDOM_SEED = 2n ** 63n - 1n;
const $ = (id) => document.getElementById(id);

const worker = new Worker("worker.js", { type: "module" });
let request = 0; // answers to older requests are ignored
let answering = () => {};
const models = new Map(); // name -> where its files are
let loaded; // the name of the model that writes

worker.onmessage = ({ data }) => {
  if (data.request !== request) return;
  if (data.error) fail(data.error);
  else answering(data);
};
worker.onerror = (event) =>
  fail(`This page cannot run here: ${event.message ?? "the browser is too old"}.`);

function ask(message, answer) {
  request += 1;
  answering = answer;
  worker.postMessage({ ...message, request });
}

function say(sentence) {
  $("status").textContent = sentence;
  $("status").className = "";
}

function fail(sentence) {
  say(sentence);
  $("status").className = "error";
  $("stop").disabled = true;
  $("write").disabled = !loaded;
  $("model").value = loaded;
}

function load(name, from) {
  say(`Loading ${name} …`);
  $("write").disabled = $("stop").disabled = true;
  ask({ do: "load", ...from }, ({ speakers, guarded }) => {
    const [nobody] = $("speaker").options;
    $("speaker").replaceChildren(nobody, ...speakers.map((speaker) => new Option(speaker)));
    $("speaker-choice").hidden = !speakers.length;
    $("write").disabled = false;
    const promise = guarded ? ` It copies at most ${guarded} characters in a row.` : "";
    say(`${name} is ready.${promise}`);
    loaded = name;
    models.set(name, from);
    showModels();
  });
}

function showModels() {
  $("model").replaceChildren(...Array.from(models.keys(), (name) => new Option(name)));
  if (loaded) $("model").value = loaded;
  $("model-choice").hidden = models.size < 2;
}

function write() {
  const typed = $("random-seed").value.trim();
  const [random] = crypto.getRandomValues(new Uint32Array(1));
  const randomSeed = typed ? BigInt(typed) : BigInt(random >>> 1);
  if (randomSeed > MAX_RANDOM_SEED) {
    fail(`The random seed must be 0 to ${MAX_RANDOM_SEED}.`);
    return;
  }
  const temperature = Number($("temperature").value);
  const speaker = $("speaker").value;
  const seed = (speaker && `${speaker}:\n`) + $("seed").value;
  say("Writing …");
  $("answer").hidden = false;
  $("written-seed").textContent = seed;
  $("written").textContent = "";
  $("about").textContent = "";
  $("stop").disabled = false;
  const name = loaded;
  ask({ do: "write", seed, temperature, randomSeed, length: LENGTH }, (answer) => {
    if (answer.text) $("written").append(answer.text);
    if (answer.dropped)
      $("about").textContent = `${name} does not know: ${described(answer.dropped)}. `;
    if (answer.done) {
      say("");
      $("about").append(`${name}, temperature ${temperature}, random seed ${randomSeed}`);
      $("stop").disabled = true;
    }
  });
}

/** Characters for people; those that cannot be seen alone as U+…. */
function described(characters) {
  const shown = (c) =>
    /[\p{L}\p{N}\p{P}\p{S}]/u.test(c)
      ? c
      : `U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  return Array.from(characters, shown).join(" ");
}

function drop(files) {
  if (!files.length) return;
  load(files.length === 1 ? files[0].name.replace(/\.zip$/i, "") : "your model", {
    chosen: [...files],
  });
}

$("prompt").onsubmit = (event) => {
  event.preventDefault();
  write();
};
$("stop").onclick = () => {
  ask({ do: "stop" }, () => {});
  say("Stopped.");
  $("stop").disabled = true;
};
$("temperature").oninput = () => ($("shown-temperature").value = $("temperature").value);
$("temperature").oninput();
$("model").onchange = () => load($("model").value, models.get($("model").value));
$("files").onchange = () => drop($("files").files);
document.ondragover = (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
};
document.ondragleave = () => $("drop").classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  drop(event.dataTransfer.files);
};

// A site without models.json has no models of its own.
const response = await fetch("models.json");
const names = response.ok ? await response.json() : [];
for (const name of names) models.set(name, { path: `models/${encodeURIComponent(name)}` });
showModels();
if (models.size) $("model").onchange();
else say("Drop a model below.");
