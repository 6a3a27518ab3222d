// The shapes of the HTTP API, as interface.md gives them.

/** A telemetry value. An integer that a double cannot hold arrives as a bigint; null is a gap. */
export type Value = number | bigint | boolean | string | null;
/** `[ts, value]`, ts in milliseconds since 1970. */
export type Point = [ts: number, value: Value];

export interface Latest {
  ts: number;
  value: Value;
  unit?: string;
}

export interface Page<T> {
  items: T[];
  next: string | null;
}

export interface Device {
  id: string;
  name: string | null;
  profile: string;
  labels: Record<string, string>;
  online: boolean;
  last_seen: string | number | null;
  latest?: Record<string, Latest>;
}

export interface NewDevice extends Device {
  credential: { id?: string; token: string };
}

export interface Credential {
  id: string;
  kind: string;
  created_at?: string;
  token?: string;
}

export type CommandState = "queued" | "sent" | "delivered" | "succeeded" | "failed" | "expired" | "cancelled";

export interface Command {
  id: string;
  device: string;
  name: string;
  params?: unknown;
  state: CommandState;
  created_at: string;
  expires_at?: string | null;
  sent_at?: string | null;
  delivered_at?: string | null;
  finished_at?: string | null;
  result?: unknown;
  error?: string | null;
}

export interface Twin {
  reported: Json;
  desired: Json;
  version: number;
}

export interface Json {
  [key: string]: unknown;
}

export interface LogItem {
  at: string;
  kind: string;
  detail: string;
  count?: number;
  protocol?: string;
}

export interface ServerInfo {
  version?: string;
  acks?: string;
  started_at?: string;
  doors?: Record<string, string>;
}

export interface Session {
  user: { id: string; name: string; role: Role };
  tenant: { id: string; name: string };
  operator: boolean;
  acks: string;
}

export type Role = "owner" | "admin" | "operator" | "viewer";

/** A person of the tenant. */
export interface User {
  id: string;
  email: string;
  name: string;
  role: Role;
  /** Whether they may also do what concerns the whole server. */
  operator: boolean;
  /** Whether they are shut out for now. */
  disabled: boolean;
  created_at: string;
}

/** A place where one is signed in at the dashboard. */
export interface WebSession {
  id: string;
  current: boolean;
  created_at: string | null;
  expires_at: string;
  address: string | null;
  browser: string | null;
}

export interface ApiToken {
  id: string;
  name: string;
  role: Role;
  created_at?: string;
  expires_at?: string | null;
  last_used_at?: string | null;
  token?: string;
}

/** An MQTT session, connected or not. */
export interface MqttSession {
  client_id: string;
  owner: { kind: "device" | "token" | "user"; id: string };
  connected: boolean;
  protocol: string;
  address: string | null;
  connected_at: string | null;
  disconnected_at: string | null;
  subscriptions: { filter: string; qos: number }[];
  queued: number;
}

/** A QoS 1 or 2 message that a session is owed. */
export interface QueuedMessage {
  sequence: number;
  packet_id: number;
  position: number | null;
  state: "waiting" | "in_flight" | "received";
  qos: number;
  topic: string | null;
  size: number | null;
  ts: number | null;
  expires_at: string | null;
}

export interface RetainedMessage {
  topic: string;
  payload: unknown;
  qos: number;
  ts: number;
}

/** A device that a dialect recognised and nobody registered yet. */
export interface Waiting {
  id: string;
  dialect: string;
  /** By what the dialect knows it again. */
  name: string;
  proposed: {
    id: string | null;
    name: string | null;
    profile: string;
    labels: Record<string, string>;
    parent: string | null;
  };
  first_seen_at: string;
  last_seen_at: string;
  sample: unknown;
}

export interface InboxPage extends Page<Waiting> {
  /** How many wait in all. */
  total: number;
}

/** A rule by which devices are let in without anybody asking. */
export interface InboxRule {
  dialect: string;
  name: string;
  parent?: string;
  labels?: Record<string, string>;
  profile?: string;
  limit: number;
  accepted: number;
}

/** What devices of a kind may do, and how their bytes are read. */
export interface Profile {
  id: string;
  name: string | null;
  built_in: boolean;
  decoder?: unknown;
  [member: string]: unknown;
}

/** A frame that went to a decoder. */
export interface Frame {
  hex: string;
  port: number | null;
}

export interface RecordedFrame extends Frame {
  device: string;
  at: string;
}

/** What a decoder made of a frame. */
export interface Decoded extends Frame {
  /** The time that the frame itself says. */
  ts: number | null;
  readings: { key: string; value: Value }[];
  error: { field: string; offset: number; detail: string } | null;
}
