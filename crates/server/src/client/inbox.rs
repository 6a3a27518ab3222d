//! `roost inbox`: devices that wait to be let in, and the rules that let them in.

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::device::{self, done, given, labels};
use super::{Api, Column, Connection, Output, encoded, print_item, print_list};
use crate::failure::Failure;

const RULES: &str = "/api/v1/inbox/rules";
const COLUMNS: &[Column] = &[
    ("ID", "id"),
    ("DIALECT", "dialect"),
    ("NAME", "name"),
    ("GATEWAY", "parent"),
    ("PROPOSED ID", "proposed_id"),
    ("LAST SEEN", "last_seen_at"),
];
const RULE_COLUMNS: &[Column] = &[
    ("NUMBER", "number"),
    ("DIALECT", "dialect"),
    ("NAME", "name"),
    ("GATEWAY", "parent"),
    ("PROFILE", "profile"),
    ("LABELS", "labels"),
    ("ACCEPTED", "accepted"),
    ("LIMIT", "limit"),
];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists devices that were recognised and wait to be let in
    List,
    /// Registers one and prints its token, this once
    Accept {
        /// Its id in the inbox
        id: String,
        /// The id that the device gets, instead of the proposed one
        #[arg(long = "id")]
        device: Option<String>,
        /// Its name, instead of the proposed one
        #[arg(long)]
        name: Option<String>,
        /// A label, as `name=value`, instead of the proposed ones; may be repeated
        #[arg(long = "label", value_parser = device::label)]
        labels: Vec<(String, String)>,
    },
    /// Forgets one, until it is heard of again
    Forget {
        /// Its id in the inbox
        id: String,
    },
    /// The rules that let devices in without anybody asking
    #[command(subcommand)]
    Rules(Rules),
}

#[derive(Debug, Subcommand)]
enum Rules {
    /// Lists them in the order in which they are asked
    List,
    /// Adds one; those that wait already and match are let in at once
    Add {
        /// Whose devices, such as spot
        dialect: String,
        /// By what the dialect knows them; `*` stands for any text, `?` for one character
        #[arg(default_value = "*")]
        name: String,
        /// Only those behind this gateway
        #[arg(long)]
        parent: Option<String>,
        /// Their profile, instead of the proposed one
        #[arg(long)]
        profile: Option<String>,
        /// A label that they get, as `name=value`; may be repeated
        #[arg(long = "label", value_parser = device::label)]
        labels: Vec<(String, String)>,
        /// How many devices it lets in, ever; 1000 without
        #[arg(long)]
        limit: Option<u32>,
    },
    /// Removes one; devices that it let in stay
    Remove {
        /// Its number in the list
        number: usize,
    },
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let (api, output) = (arguments.connection.api()?, arguments.connection.output);
    match arguments.command {
        Command::List => {
            let mut waiting = api.list("/api/v1/inbox")?;
            if output == Output::Table {
                waiting.iter_mut().for_each(shorten);
            }
            print_list(output, &waiting, COLUMNS)
        }
        Command::Accept { id, device, name, labels } => {
            let mut body = given(&[("id", device.as_ref()), ("name", name.as_ref())]);
            add_labels(&mut body, labels);
            let path = format!("/api/v1/inbox/{}/accept", encoded(&id));
            device::print_made(output, &api.json("POST", &path, Some(&body.into()))?)
        }
        Command::Forget { id } => {
            api.json("DELETE", &format!("/api/v1/inbox/{}", encoded(&id)), None)?;
            done(output, &format!("{id} forgotten"))
        }
        Command::Rules(command) => rules(&api, output, command),
    }
}

fn rules(api: &Api, output: Output, command: Rules) -> Result<(), Failure> {
    let (Value::Array(mut rules), api) = api.to_change(RULES)? else { return Ok(()) };
    match command {
        Rules::List => {
            if output == Output::Table {
                rules.iter_mut().zip(1..).for_each(write_number);
            }
            return print_list(output, &rules, RULE_COLUMNS);
        }
        Rules::Add { dialect, name, parent, profile, labels, limit } => {
            let members = [
                ("dialect", Some(&dialect)),
                ("name", Some(&name)),
                ("parent", parent.as_ref()),
                ("profile", profile.as_ref()),
            ];
            let mut rule = given(&members);
            add_labels(&mut rule, labels);
            rule.extend(limit.map(|limit| ("limit".to_owned(), limit.into())));
            rules.push(rule.into());
        }
        Rules::Remove { number } if (1..=rules.len()).contains(&number) => drop(rules.remove(number - 1)),
        Rules::Remove { number } => {
            return Err(
                anyhow::anyhow!("there is no rule {number}; `roost inbox rules list` shows them").into()
            );
        }
    }
    let rules = api.json("PUT", RULES, Some(&rules.into()))?;
    if output == Output::Json {
        return print_item(output, &rules);
    }
    done(output, &format!("{} rules are set", rules.as_array().map_or(0, Vec::len)))
}

fn add_labels(body: &mut Map<String, Value>, given: Vec<(String, String)>) {
    if !given.is_empty() {
        body.insert("labels".to_owned(), labels(given));
    }
}

/// What is proposed, as members of a row.
fn shorten(waiting: &mut Value) {
    let (parent, id) = (proposed(waiting, "parent"), proposed(waiting, "id"));
    if let Some(members) = waiting.as_object_mut() {
        members.insert("parent".to_owned(), parent);
        members.insert("proposed_id".to_owned(), id);
    }
}

fn proposed(waiting: &Value, member: &str) -> Value {
    waiting.get("proposed").and_then(|proposed| proposed.get(member)).cloned().unwrap_or_default()
}

fn write_number((rule, number): (&mut Value, usize)) {
    if let Some(members) = rule.as_object_mut() {
        members.insert("number".to_owned(), number.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_names_the_gateway_and_the_proposed_id() {
        let mut waiting = json!({ "id": "spot-1", "proposed": { "id": "gate", "parent": null } });
        shorten(&mut waiting);
        assert_eq!((&waiting["parent"], &waiting["proposed_id"]), (&Value::Null, &json!("gate")));
    }
}
