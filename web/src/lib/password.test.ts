import { expect, test } from "vitest";
import { makePassword, PASSWORD_MIN } from "./password";

test("a made password has four groups without letters that are mistaken", () => {
  for (let i = 0; i < 200; i += 1)
    expect(makePassword()).toMatch(/^([a-hj-km-np-z2-9]{4}-){3}[a-hj-km-np-z2-9]{4}$/);
  expect(makePassword().length).toBeGreaterThanOrEqual(PASSWORD_MIN);
});

test("no two are the same", () => {
  expect(new Set(Array.from({ length: 100 }, () => makePassword())).size).toBe(100);
});

test("bytes that would prefer some letters are not used", () => {
  const bytes = [255, 254, 248, 247];
  let at = 0;
  const password = makePassword((into) => {
    into[0] = bytes[at++ % bytes.length] ?? 0;
  });
  // 247 is the last of them that is: the 31st letter.
  expect(password).toBe("9999-9999-9999-9999");
});
