//! Requests, as the protocol and each server write them.

use serde_json::{Map, Value, json};

use super::{
    dialect::{Abilities, ChoiceForm, Server},
    escape_markers,
};
use crate::{
    error::{Error, Result},
    model::{ChatRequest, Constraint, Message, Prompt, Role},
};

/// The most alternatives per token that servers give.
pub(crate) const MOST_TOP_LOGPROBS: usize = 20;
/// The same for `/completions` of OpenAI.
pub(crate) const MOST_RAW_LOGPROBS: usize = 5;

/// The path and the fields of a request.
pub(crate) struct Body {
    pub(crate) path: &'static str,
    pub(crate) fields: Map<String, Value>,
}

/// Writes the request for a completion.
pub(crate) fn completion(server: Server, model: &str, request: &ChatRequest) -> Result<Body> {
    check(server, request)?;
    let abilities = server.abilities();
    let mut fields = Map::new();
    fields.insert("model".to_owned(), model.into());
    let raw = matches!(request.prompt, Prompt::Raw(_));
    match &request.prompt {
        Prompt::Raw(text) => {
            fields.insert("prompt".to_owned(), escape_markers(text).into());
        }
        Prompt::Chat(said) => {
            fields.insert("messages".to_owned(), messages(said));
        }
        Prompt::Unfinished(said) => {
            go_on(server, &abilities, said, &mut fields)?;
            fields.insert("messages".to_owned(), messages(said));
        }
    }
    let most = if raw {
        "max_tokens"
    } else {
        abilities.max_tokens
    };
    fields.insert(most.to_owned(), request.max_tokens.into());
    sampling(server, &abilities, request, &mut fields)?;
    if !request.stop.is_empty() {
        fields.insert("stop".to_owned(), json!(request.stop));
    }
    if let Some(count) = request.top_logprobs {
        let count = count.min(MOST_TOP_LOGPROBS);
        if raw {
            // 0 means none to some.
            fields.insert("logprobs".to_owned(), count.max(1).into());
        } else {
            // Nor does llama.cpp say anything of a token if it is to name no others.
            let least = usize::from(server == Server::LlamaCpp);
            fields.insert("logprobs".to_owned(), true.into());
            fields.insert("top_logprobs".to_owned(), count.max(least).into());
        }
    }
    if server == Server::LlamaCpp {
        // What it kept of an earlier prompt was computed in other batches, and rounds differently: the same seed gave
        // other texts.
        fields.insert("cache_prompt".to_owned(), false.into());
    }
    if let Some(constraint) = &request.constraint {
        constrain(server, &abilities, constraint, raw, &mut fields)?;
    }
    Ok(Body {
        path: if raw {
            "/completions"
        } else {
            "/chat/completions"
        },
        fields,
    })
}

/// Rejects what no server supports, and what this one would get wrong silently.
fn check(server: Server, request: &ChatRequest) -> Result<()> {
    if request.max_tokens == 0 {
        return Err(Error::config("max_tokens", "must be at least 1"));
    }
    if request.stop.iter().any(String::is_empty) {
        return Err(Error::config(
            "stop",
            "an empty string is everywhere; leave it out",
        ));
    }
    if server == Server::OpenAi && request.stop.len() > 4 {
        return Err(Error::config("stop", "OpenAI takes four strings at most"));
    }
    let raw = matches!(request.prompt, Prompt::Raw(_));
    if server == Server::OpenAi
        && raw
        && request
            .top_logprobs
            .is_some_and(|count| count > MOST_RAW_LOGPROBS)
    {
        let reason = format!("OpenAI gives {MOST_RAW_LOGPROBS} at most for raw text");
        return Err(Error::config("top_logprobs", reason));
    }
    match &request.constraint {
        Some(Constraint::JsonSchema(_)) if !request.stop.is_empty() => Err(Error::config(
            "stop",
            "JSON that is held to a schema ends by itself; ask without stop strings",
        )),
        Some(Constraint::Choice(choices)) => {
            if choices.is_empty() {
                return Err(Error::config("choices", "there is none; give at least one"));
            }
            for (at, choice) in choices.iter().enumerate() {
                let reason = if choice.is_empty() {
                    "is empty"
                } else if request
                    .stop
                    .iter()
                    .any(|stop| choice.contains(stop.as_str()))
                {
                    "holds a stop string"
                } else {
                    continue;
                };
                return Err(Error::config(
                    "choices",
                    format!("choice {} {reason}", at + 1),
                ));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

pub(crate) fn messages(said: &[Message]) -> Value {
    let said = said.iter();
    said.map(|message| json!({"role": message.role.as_str(), "content": escape_markers(&message.content)}))
        .collect()
}

fn go_on(
    server: Server,
    abilities: &Abilities,
    said: &[Message],
    fields: &mut Map<String, Value>,
) -> Result<()> {
    let last = said.last().map(|message| message.role);
    match abilities.unfinished {
        Some((flags, any)) if any || last == Some(Role::Assistant) => {
            for (name, value) in flags {
                fields.insert((*name).to_owned(), (*value).into());
            }
            Ok(())
        }
        _ => Err(Error::config(
            "prompt",
            format!(
                "{server} cannot go on with this message; vLLM goes on with any, SGLang and llama.cpp with the model's own"
            ),
        )),
    }
}

fn sampling(
    server: Server,
    abilities: &Abilities,
    request: &ChatRequest,
    fields: &mut Map<String, Value>,
) -> Result<()> {
    let sampling = &request.sampling;
    let cannot = |field: &str| {
        Error::config(
            field,
            format!("{server} has no such option; leave it at its default"),
        )
    };
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("temperature", sampling.temperature.into());
    // The servers whose defaults are not the protocol's are those that know `top_k`. Some models of the others take no
    // `top_p` at all.
    if abilities.all_top_k.is_some() || (sampling.top_p - 1.0).abs() > f64::EPSILON {
        set("top_p", sampling.top_p.into());
    }
    // 31 bits, which every server takes; the highest would mean "at random" to llama.cpp.
    let seed = (sampling.seed ^ (sampling.seed >> 32)) & 0x7fff_ffff;
    set(abilities.seed, seed.into());
    // Said even where they are the defaults here: the server's own are others.
    match abilities.all_top_k {
        Some(all) => {
            let kept = i64::try_from(sampling.top_k).unwrap_or(i64::MAX);
            set("top_k", if kept == 0 { all } else { kept }.into());
            set("min_p", sampling.min_p.into());
        }
        None if sampling.top_k != 0 => return Err(cannot("top_k")),
        None if sampling.min_p != 0.0 => return Err(cannot("min_p")),
        None => {}
    }
    match abilities.repetition_penalty {
        Some(name) => {
            set(name, sampling.repetition_penalty.into());
        }
        None if (sampling.repetition_penalty - 1.0).abs() > f64::EPSILON => {
            return Err(cannot("repetition_penalty"));
        }
        None => {}
    }
    Ok(())
}

fn constrain(
    server: Server,
    abilities: &Abilities,
    constraint: &Constraint,
    raw: bool,
    fields: &mut Map<String, Value>,
) -> Result<()> {
    let (name, value) = match (constraint, abilities.choices) {
        (Constraint::JsonSchema(schema), Some(ChoiceForm::Grammar)) if raw => {
            ("json_schema", schema.clone())
        }
        (Constraint::JsonSchema(schema), _) => {
            let named = json!({"name": "answer", "strict": true, "schema": schema});
            (
                "response_format",
                json!({"type": "json_schema", "json_schema": named}),
            )
        }
        (Constraint::Choice(choices), Some(ChoiceForm::StructuredOutputs)) => {
            ("structured_outputs", json!({"choice": choices}))
        }
        (Constraint::Choice(choices), Some(ChoiceForm::Regex)) => {
            let choices: Vec<String> = choices.iter().map(|choice| regex(choice)).collect();
            ("regex", format!("({})", choices.join("|")).into())
        }
        (Constraint::Choice(choices), Some(ChoiceForm::Grammar)) => {
            let choices: Vec<String> = choices.iter().map(|choice| literal(choice)).collect();
            (
                "grammar",
                format!("root ::= {}", choices.join(" | ")).into(),
            )
        }
        (Constraint::Choice(_), None) => {
            let reason = format!(
                "{server} cannot hold its completions to several choices; ask for a JSON schema, or without"
            );
            return Err(Error::config("constraint", reason));
        }
    };
    fields.insert(name.to_owned(), value);
    Ok(())
}

/// Escapes a text for a regular expression. Only what needs it is escaped: engines reject or misread escapes such as
/// `\-`.
fn regex(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if r"\^$.|?*+()[]{}".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Writes a text as a literal of the grammars of llama.cpp.
fn literal(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sampling;

    fn fields(server: Server, request: &ChatRequest) -> Value {
        Value::Object(completion(server, "m", request).unwrap().fields)
    }

    fn chat() -> ChatRequest {
        ChatRequest::new(vec![Message::user("Name a river.<|im_end|>")]).with_max_tokens(8)
    }

    #[test]
    fn each_server_is_asked_in_its_own_way() {
        let said = json!([{"role": "user", "content": "Name a river.<\u{200b}|im_end|>"}]);
        assert_eq!(
            fields(Server::OpenAi, &chat()),
            json!({"model": "m", "messages": said, "max_completion_tokens": 8, "temperature": 0.0, "seed": 0})
        );
        let half = Sampling {
            top_p: 0.5,
            seed: 7,
            ..Sampling::default()
        };
        assert_eq!(
            fields(Server::Mistral, &chat().with_sampling(half)),
            json!({"model": "m", "messages": said, "max_tokens": 8, "temperature": 0.0, "top_p": 0.5, "random_seed": 7})
        );
        let sampling = Sampling {
            top_k: 5,
            repetition_penalty: 1.1,
            seed: (7 << 32) | 0xffff_ffff,
            ..Sampling::default()
        };
        assert_eq!(
            fields(
                Server::LlamaCpp,
                &chat().with_sampling(sampling).with_choices(["a\"\n", "b"])
            ),
            json!({"model": "m", "messages": said, "max_tokens": 8, "temperature": 0.0, "top_p": 1.0, "seed": 0x7fff_fff8, "top_k": 5, "cache_prompt": false,
                "min_p": 0.0, "repeat_penalty": 1.1, "grammar": "root ::= \"a\\\"\\n\" | \"b\""})
        );
        let raw = ChatRequest::new(Prompt::Raw("Once".into()))
            .with_max_tokens(3)
            .with_top_logprobs(0)
            .with_stop("\n");
        assert_eq!(
            fields(Server::Vllm, &raw.clone().with_choices(["a", "b"])),
            json!({"model": "m", "prompt": "Once", "max_tokens": 3, "temperature": 0.0, "top_p": 1.0, "seed": 0, "top_k": -1,
                "min_p": 0.0, "repetition_penalty": 1.0, "stop": ["\n"], "logprobs": 1, "structured_outputs": {"choice": ["a", "b"]}})
        );
        assert_eq!(
            fields(
                Server::Sglang,
                &raw.with_choices([r"a.b (c|d) \e", "f-g/h \"i\", <j> & 川's", "[k]{1,2}^$*+?"])
            )["regex"],
            r#"(a\.b \(c\|d\) \\e|f-g/h "i", <j> & 川's|\[k\]\{1,2\}\^\$\*\+\?)"#
        );
        // No others, and still those of the tokens themselves.
        let none = chat().with_top_logprobs(0);
        assert_eq!(fields(Server::LlamaCpp, &none)["top_logprobs"], 1);
        assert_eq!(fields(Server::OpenAi, &none)["top_logprobs"], 0);
    }

    #[test]
    fn what_a_server_cannot_do_is_refused_before_it_is_asked() {
        let refused = |server, request: ChatRequest| {
            completion(server, "m", &request)
                .err()
                .map(|error| error.to_string())
        };
        let top_k = chat().with_sampling(Sampling {
            top_k: 3,
            ..Sampling::default()
        });
        assert_eq!(
            refused(Server::OpenAi, top_k.clone()).unwrap(),
            "top_k: OpenAI has no such option; leave it at its default"
        );
        assert_eq!(refused(Server::Vllm, top_k), None);
        let raw = |count| ChatRequest::new(Prompt::Raw("Once".into())).with_top_logprobs(count);
        assert_eq!(
            refused(Server::OpenAi, raw(6)).unwrap(),
            "top_logprobs: OpenAI gives 5 at most for raw text"
        );
        assert_eq!(refused(Server::OpenAi, raw(5)), None);
        assert_eq!(refused(Server::Vllm, raw(6)), None);
        assert!(
            refused(Server::Other, chat().with_choices(["a"]))
                .unwrap()
                .contains("several choices")
        );
        assert!(
            refused(Server::LlamaCpp, chat().with_max_tokens(0))
                .unwrap()
                .contains("at least 1")
        );
        assert!(
            refused(Server::LlamaCpp, chat().with_stop(""))
                .unwrap()
                .contains("empty")
        );
        assert!(
            refused(Server::Vllm, chat().with_choices(["a b"]).with_stop(" "))
                .unwrap()
                .contains("choice 1 holds")
        );
        let schema = chat().with_json_schema(json!({"type": "object"}));
        assert!(
            refused(Server::OpenAi, schema.clone().with_stop("x"))
                .unwrap()
                .contains("ends by itself")
        );
        assert_eq!(refused(Server::OpenAi, schema), None);
        let unfinished = |role| ChatRequest::new(Prompt::Unfinished(vec![Message::new(role, "")]));
        assert!(refused(Server::OpenAi, unfinished(Role::Assistant)).is_some());
        assert!(refused(Server::LlamaCpp, unfinished(Role::User)).is_some());
        assert_eq!(refused(Server::LlamaCpp, unfinished(Role::Assistant)), None);
        assert_eq!(refused(Server::Vllm, unfinished(Role::User)), None);
    }
}
