// What the roles may do, in words.

import type { Role } from "./types";

export const ROLES: [role: Role, may: string][] = [
  ["viewer", "viewer: reads everything"],
  ["operator", "operator: commands, twins, telemetry too"],
  ["admin", "admin: devices, profiles, sessions too"],
  ["owner", "owner: tokens and users too"],
];
