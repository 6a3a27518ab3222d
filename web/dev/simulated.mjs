// Devices for the mock: a month of believable history, and a life from then on.

import { makeDevice, note, record, setOnline, state, step, tell } from "./world.mjs";

const HOUR = 3_600_000;
const wave = (ts, period, phase = 0) => Math.sin((ts / period) * 2 * Math.PI + phase);
const round = (value, digits = 2) => Number(value.toFixed(digits));

function climate(ts, seed) {
  return {
    temp: round(20 + 4 * wave(ts, 24 * HOUR, seed) + 0.6 * wave(ts, 40 * 60_000) + Math.random() * 0.2),
    humidity: round(52 - 9 * wave(ts, 24 * HOUR, seed) + Math.random() * 1.2, 1),
    "pressure.sea": round(1013 + 8 * wave(ts, 130 * HOUR) + Math.random() * 0.1, 1),
    door: wave(ts, 3 * HOUR, seed) > 0.8,
    mode: ["auto", "heat", "cool", "idle"][Math.floor(ts / (35 * 60_000) + seed) % 4],
  };
}

function past(device, seed) {
  const end = Date.now();
  const quiet = [end - 26 * 60_000, end - 18 * 60_000];
  for (let ts = end - 30 * 24 * HOUR; ts < end; ts += ts < end - 2 * HOUR ? 5 * 60_000 : 10_000) {
    if (ts > quiet[0] && ts < quiet[1]) continue;
    for (const [key, value] of Object.entries(climate(ts, seed))) {
      const points = device.history.get(key) ?? [];
      device.history.set(key, points);
      points.push([ts, value]);
    }
  }
  device.last_seen = new Date(end).toISOString();
}

export function fill() {
  const named = [
    [
      "greenhouse-north",
      "Greenhouse north",
      { site: "farm", room: "greenhouse", "unit.temp": "°C", "unit.humidity": "%" },
    ],
    ["cellar", "Cellar", { site: "home" }],
    ["hostile-1", "<img src=x onerror=\"document.title='hacked'\">", { "<b>bold</b>": "{{7*7}}" }],
    ["hostile-2", "safe\u202egnp.exe", { note: "${jndi:ldap://x}" }],
    ["roof-station-with-a-very-long-identifier-that-has-64-characters-x", "Roof station", {}],
  ];
  for (const [id, name, labels] of named) past(makeDevice({ id, name, labels }), id.length);
  for (const serial of ["1187", "1188", "2042"]) wait(serial);
  for (let i = 0; i < 130; i += 1) {
    const device = makeDevice({
      id: `plug-${String(i).padStart(3, "0")}`,
      name: `Plug ${i}`,
      labels: { kind: "plug" },
    });
    if (i % 3) device.history.set("power", [[Date.now() - i * 50_000, round(i * 7.3, 1)]]);
    device.last_seen = new Date(Date.now() - i * 50_000).toISOString();
    device.online = i % 4 !== 0;
  }
}

/** A Spot that nobody registered. */
export function wait(serial) {
  const at = new Date().toISOString();
  const labels = { maker: "intellifi" };
  state.inbox.push({
    id: `spot-${serial}`,
    dialect: "spot",
    name: serial,
    proposed: { id: `spot-${serial}`, name: `Spot ${serial}`, profile: "spot", labels, parent: null },
    first_seen_at: at,
    last_seen_at: at,
    sample: { spot: { version: "61-4-gab12cd3", online: true }, presence: { item_code: "E280", antenna: 2 } },
  });
}

function obey(device) {
  for (const command of device.commands) {
    const at = new Date().toISOString();
    if (command.state === "queued") step(device, command, { state: "sent", sent_at: at });
    else if (command.state === "sent") step(device, command, { state: "delivered", delivered_at: at });
    else if (command.state === "delivered") {
      const fails = command.name === "fail";
      const outcome = fails
        ? { state: "failed", error: "no such command" }
        : { state: "succeeded", result: { done: true } };
      step(device, command, { ...outcome, finished_at: at });
    }
  }
  const { reported, desired, version } = device.twin;
  if (Math.random() > 0.2 || JSON.stringify(reported) === JSON.stringify(desired)) return;
  device.twin = { reported: { ...desired, uptime: Math.round(performance.now() / 1000) }, desired, version };
  tell("twin", { device: device.id, version });
}

export function simulate(devices) {
  const lively = devices.slice(0, 4);
  for (const device of lively) {
    device.twin = {
      reported: { interval: 10, led: { on: false, colour: "amber" }, firmware: "1.4.2" },
      desired: { interval: 5, led: { on: false } },
      version: 3,
    };
    setOnline(device, true);
    note(device, "refused", "payload is no JSON at byte 12: expected a value");
    note(device, "event", "button: pressed");
    device.credentials.push({
      id: `c_${device.id.slice(0, 6)}`,
      kind: "token",
      created_at: new Date().toISOString(),
      token: `t-${device.id}`,
    });
  }
  setInterval(() => {
    for (const device of lively) {
      if (!device.online) continue;
      record(device, Date.now(), climate(Date.now(), device.id.length));
      obey(device);
    }
  }, 1000);
  setInterval(() => lively[1] && setOnline(lively[1], !lively[1].online), 15_000);
}
