// Ready-to-paste programs: each sends telemetry and receives a command with a device's real credentials.

import type { Addresses } from "./address";

export interface Snippet {
  id: string;
  title: string;
  /** One line above the code: what it needs. */
  needs: string;
  code: string;
}

/** What stands for the token where it is no longer known. */
export const TOKEN_UNKNOWN = "DEVICE_TOKEN";

/** Text as one word of a POSIX shell. */
export function shell(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

// A JSON string is a string literal of Python and of C++ alike, once nothing but ASCII is in it.
function literal(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function mosquitto({ host, port, tls }: NonNullable<Addresses["mqtt"]>, id: string, token: string): string {
  const flags = `-h ${shell(host)} -p ${port}${tls ? " --capath /etc/ssl/certs" : ""} -u ${shell(id)} -P ${shell(token)}`;
  return `# 1. receive commands and answer each (leave it running)
mosquitto_sub ${flags} \\
  -q 1 -t me/commands | while read -r command; do
  echo "command: $command"
  cid=$(printf '%s' "$command" | grep -o '"id":"[^"]*"' | head -n 1 | cut -d '"' -f 4)
  mosquitto_pub ${flags} \\
    -q 1 -t "me/commands/$cid/result" -m '{"ok":true}'
done &

# 2. send telemetry
mosquitto_pub ${flags} \\
  -q 1 -t me/telemetry -m '{"temp":21.5,"humidity":48}'
`;
}

function curl(http: string, id: string, token: string): string {
  const user = `-u ${shell(`${id}:${token}`)}`;
  return `# send telemetry: the answer 204 says that it is stored
curl ${user} -H 'Content-Type: application/json' \\
  -d '{"temp":21.5,"humidity":48}' ${http}/api/v1/me/telemetry

# wait up to 30 s for commands
curl ${user} '${http}/api/v1/me/commands?wait=30s'

# answer one (put its id for COMMAND_ID)
curl ${user} -H 'Content-Type: application/json' \\
  -d '{"ok":true}' ${http}/api/v1/me/commands/COMMAND_ID/result
`;
}

function python({ host, port, tls }: NonNullable<Addresses["mqtt"]>, id: string, token: string): string {
  return `import json, time
import paho.mqtt.client as mqtt

def on_connect(client, userdata, flags, reason, properties):
    print("connected:", reason)
    client.subscribe("me/commands", qos=1)

def on_message(client, userdata, message):
    command = json.loads(message.payload)
    print("command:", command["name"], command.get("params"))
    answer = {"ok": True, "result": "done"}
    client.publish(f"me/commands/{command['id']}/result", json.dumps(answer), qos=1)

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=${literal(id)})
client.username_pw_set(${literal(id)}, ${literal(token)})
${tls ? "client.tls_set()\n" : ""}client.on_connect = on_connect
client.on_message = on_message
client.connect(${literal(host)}, ${port})
client.loop_start()

while True:
    client.publish("me/telemetry", json.dumps({"temp": 21.5, "humidity": 48}), qos=1)
    time.sleep(5)
`;
}

function micropython({ host, port, tls }: NonNullable<Addresses["mqtt"]>, id: string, token: string): string {
  return `import json, network, time
from umqtt.simple import MQTTClient

wifi = network.WLAN(network.STA_IF)
wifi.active(True)
wifi.connect("WIFI_NAME", "WIFI_PASSWORD")
while not wifi.isconnected():
    time.sleep(0.2)

client = MQTTClient(${literal(id)}, ${literal(host)}, port=${port}${tls ? ", ssl=True" : ""},
                    user=${literal(id)}, password=${literal(token)}, keepalive=60)

def on_command(topic, payload):
    command = json.loads(payload)
    print("command:", command["name"], command.get("params"))
    client.publish("me/commands/%s/result" % command["id"], json.dumps({"ok": True}), qos=1)

client.set_callback(on_command)
client.connect()
client.subscribe("me/commands", qos=1)

while True:
    client.publish("me/telemetry", json.dumps({"temp": 21.5, "humidity": 48}), qos=1)
    for _ in range(50):
        client.check_msg()
        time.sleep(0.1)
`;
}

function arduino({ host, port, tls }: NonNullable<Addresses["mqtt"]>, id: string, token: string): string {
  const secure = tls
    ? '\nconst char* ROOT_CA = R"(-----BEGIN CERTIFICATE-----\n(the root certificate of your server)\n-----END CERTIFICATE-----)";\n'
    : "";
  return `#include <WiFi.h>             // ESP8266: <ESP8266WiFi.h>
${tls ? "#include <WiFiClientSecure.h>\n" : ""}#include <PubSubClient.h>
#include <ArduinoJson.h>
${secure}
${tls ? "WiFiClientSecure" : "WiFiClient"} network;
PubSubClient client(network);
unsigned long sentAt = 0;

void onCommand(char* topic, byte* payload, unsigned int length) {
  JsonDocument command;
  if (deserializeJson(command, payload, length)) return;
  Serial.println(command["name"].as<const char*>());
  String answer = String("me/commands/") + command["id"].as<const char*>() + "/result";
  client.publish(answer.c_str(), "{\\"ok\\":true}");
}

void setup() {
  Serial.begin(115200);
  WiFi.begin("WIFI_NAME", "WIFI_PASSWORD");
  while (WiFi.status() != WL_CONNECTED) delay(200);
${tls ? "  network.setCACert(ROOT_CA);\n" : ""}  client.setServer(${literal(host)}, ${port});
  client.setBufferSize(1024);
  client.setCallback(onCommand);
}

void loop() {
  if (!client.connected()) {
    if (client.connect(${literal(id)}, ${literal(id)}, ${literal(token)})) client.subscribe("me/commands", 1);
    else delay(2000);
  }
  client.loop();
  if (client.connected() && millis() - sentAt > 5000) {
    sentAt = millis();
    client.publish("me/telemetry", "{\\"temp\\":21.5,\\"humidity\\":48}");
  }
}
`;
}

/** The programs for one device; those over MQTT are left out where no MQTT door is open. */
export function snippets(where: Addresses, id: string, token: string): Snippet[] {
  const http: Snippet = {
    id: "curl",
    title: "curl",
    needs: "Any HTTP client will do.",
    code: curl(where.http, id, token),
  };
  if (!where.mqtt) return [http];
  const over = where.mqtt;
  return [
    {
      id: "mosquitto",
      title: "mosquitto_pub",
      needs: "Needs the mosquitto clients: apt install mosquitto-clients",
      code: mosquitto(over, id, token),
    },
    http,
    {
      id: "python",
      title: "Python",
      needs: "Needs paho: pip install paho-mqtt",
      code: python(over, id, token),
    },
    {
      id: "micropython",
      title: "MicroPython",
      needs: "For ESP32, ESP8266 and Pico W. Needs umqtt: mpremote mip install umqtt.simple",
      code: micropython(over, id, token),
    },
    {
      id: "arduino",
      title: "Arduino",
      needs: "For ESP32 and ESP8266. Needs the libraries PubSubClient and ArduinoJson 7.",
      code: arduino(over, id, token),
    },
  ];
}
