import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { addresses, parseDoor } from "./address";
import { shell, snippets } from "./snippets";

const page = { protocol: "http:", hostname: "192.168.1.5", origin: "http://192.168.1.5:8080" };
const open = { doors: { http: "0.0.0.0:8080", mqtt: "0.0.0.0:1884" } };

describe("addresses", () => {
  test("a door on all interfaces is reached where the page was", () => {
    expect(addresses(open, page)).toEqual({
      http: "http://192.168.1.5:8080",
      mqtt: { host: "192.168.1.5", port: 1884, tls: false },
    });
  });

  test("without an answer from the server the usual port is taken", () => {
    expect(addresses(null, page).mqtt).toEqual({ host: "192.168.1.5", port: 1883, tls: false });
  });

  test("a page over TLS leads to MQTT over TLS where there is that", () => {
    const secure = { ...page, protocol: "https:" };
    const doors = { mqtt: "0.0.0.0:1883", mqtts: "[::]:8883" };
    expect(addresses({ doors }, secure).mqtt).toEqual({ host: "192.168.1.5", port: 8883, tls: true });
    expect(addresses(open, secure).mqtt).toEqual({ host: "192.168.1.5", port: 1884, tls: false });
  });

  test("a closed door is no address", () => {
    expect(addresses({ doors: { http: "0.0.0.0:8080" } }, page).mqtt).toBeNull();
    expect(addresses({ doors: { mqtt: "off" } }, page).mqtt).toBeNull();
  });

  test("an IPv6 page gives a host without brackets", () => {
    expect(addresses(open, { ...page, hostname: "[fe80::1]" }).mqtt?.host).toBe("fe80::1");
  });

  test.each([
    ["mqtt.example.org:1883", { host: "mqtt.example.org", port: 1883 }],
    ["[2001:db8::1]:1883", { host: "2001:db8::1", port: 1883 }],
    ["127.0.0.1:1883", { host: "", port: 1883 }],
    ["off", null],
    [undefined, null],
  ])("%s is a door", (text, door) => expect(parseDoor(text)).toEqual(door));
});

describe("snippets", () => {
  const all = snippets(addresses(open, page), "greenhouse", "rd_TOKEN-1");

  test("there is one for each way", () => {
    expect(all.map((one) => one.id)).toEqual(["mosquitto", "curl", "python", "micropython", "arduino"]);
  });

  test.each(all)("$title carries the credentials, sends telemetry and answers a command", ({ id, code }) => {
    expect(code).toContain("greenhouse");
    expect(code).toContain("rd_TOKEN-1");
    expect(code).toContain("192.168.1.5");
    expect(code).toMatch(id === "curl" ? /:8080\/api\/v1\/me\/telemetry/ : /1884/);
    expect(code).toContain("me/telemetry");
    expect(code).toContain("me/commands");
    expect(code).toMatch(/\/result/);
  });

  test("only curl is left where MQTT is off", () => {
    expect(snippets({ http: page.origin, mqtt: null }, "a", "b").map((one) => one.id)).toEqual(["curl"]);
  });

  test("a token of any characters stays one word of the shell and one literal of a program", () => {
    const token = `a'b"c$(rm)\\ é`;
    const [mosquitto, , python] = snippets(addresses(open, page), "x", token);
    expect(mosquitto?.code).toContain(`-P 'a'\\''b"c$(rm)\\ é'`);
    expect(python?.code).toContain(String.raw`"a'b\"c$(rm)\\ \u00e9"`);
    expect(shell("plain-1.2:x")).toBe("plain-1.2:x");
    expect(shell("")).toBe("''");
  });

  test("over TLS every program says so", () => {
    const secure = snippets({ http: "https://h", mqtt: { host: "h", port: 8883, tls: true } }, "x", "y");
    const marks = {
      mosquitto: "--capath",
      curl: "https://",
      python: "tls_set",
      micropython: "ssl=True",
      arduino: "setCACert",
    };
    for (const { id, code } of secure) expect(code).toContain(marks[id as keyof typeof marks]);
  });
});

test("the shell program answers the command that it was given, wherever its id stands", () => {
  const [mosquitto] = snippets(addresses(open, page), "x", "t");
  const line = mosquitto?.code.split("\n").find((one) => one.includes("cid=")) ?? "";
  const command = '{"expires_at":null,"id":"01M7Z","name":"vent","params":{"id":"other"}}';
  const told = execFileSync("sh", ["-c", `command='${command}'\n${line}\nprintf %s "$cid"`]);
  expect(told.toString()).toBe("01M7Z");
});
