//! `aegis why`, `ban`, `allow`, `unban`, `verdicts list`: who is turned away, and changing that.

use super::client;
use super::status::span;
use crate::admin_client::Answer;
use crate::cli::{Allow, Ban, List, Output, Put, Unban, Why};
use crate::login;
use crate::terminal::{self, line, tame};
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) fn why(args: &Why) -> anyhow::Result<ExitCode> {
    let answer = client(&args.asking)?.ask(&format!("/why?ip={}", args.address))?;
    print(answer, args.asking.output, why_text)
}

pub(super) fn ban(args: &Ban) -> anyhow::Result<ExitCode> {
    put("ban", &args.put, args.force)
}

pub(super) fn allow(args: &Allow) -> anyhow::Result<ExitCode> {
    put("allow", &args.put, false)
}

fn put(what: &str, args: &Put, force: bool) -> anyhow::Result<ExitCode> {
    let order = json!({
        "prefix": args.prefix,
        "site": args.site,
        "for": args.length,
        "reason": args.reason,
        "force": force,
        "from": login::connected_from(),
    });
    let answer = client(&args.asking)?.tell(&format!("/{what}"), &order)?;
    print(answer, args.asking.output, put_text)
}

pub(super) fn unban(args: &Unban) -> anyhow::Result<ExitCode> {
    let order = json!({ "prefix": args.prefix, "site": args.site });
    let answer = client(&args.asking)?.tell("/unban", &order)?;
    print(answer, args.asking.output, unban_text)
}

pub(super) fn list(args: &List) -> anyhow::Result<ExitCode> {
    let client = client(&args.asking)?;
    let mut verdicts = Vec::new();
    let mut from = 0;
    loop {
        let left = args.limit as usize - verdicts.len();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("from", &from.to_string());
        query.append_pair("limit", &left.to_string());
        for (name, value) in [
            ("site", &args.site),
            ("kind", &args.kind),
            ("by", &args.by),
            ("within", &args.within),
        ] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        let page = match client.ask(&format!("/verdicts?{}", query.finish()))? {
            Answer::Found(page) => page,
            refused => return print(refused, args.asking.output, |_| String::new()),
        };
        if let Some(more) = page["verdicts"].as_array() {
            verdicts.extend(more.iter().take(left).cloned());
        }
        match page["next"].as_u64() {
            Some(next) if verdicts.len() < args.limit as usize && next > from => from = next,
            next => {
                let all = json!({
                    "verdicts": verdicts, "more": next.is_some(),
                    "entries": page["entries"], "entries_max": page["entries_max"],
                });
                return print(Answer::Found(all), args.asking.output, list_text);
            }
        }
    }
}

fn print(answer: Answer, output: Output, text: fn(&Value) -> String) -> anyhow::Result<ExitCode> {
    let value = match answer {
        Answer::Found(value) => value,
        Answer::NotFound(why) => {
            terminal::error(&tame(&why));
            return Ok(ExitCode::FAILURE);
        }
        Answer::Refused(why) => {
            // The node says "force it"; here that has a name.
            let why = why.replace("force it if you mean it", "add --force if you mean it");
            terminal::error(&tame(&why));
            return Ok(ExitCode::FAILURE);
        }
    };
    terminal::answer(&match output {
        Output::Json => format!("{value:#}\n"),
        Output::Text => text(&value),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn text_of(value: &Value) -> String {
    tame(value.as_str().unwrap_or_default())
}

/// `until 18:14:11Z (in 7 min 3 s)`
fn end(verdict: &Value) -> String {
    match verdict["seconds_left"].as_u64() {
        Some(left) => format!("until {} (in {})", text_of(&verdict["until"]), span(left)),
        None => "for ever".to_owned(),
    }
}

fn place(verdict: &Value) -> String {
    match verdict["site"].as_str() {
        Some(site) => format!("on site {}", tame(site)),
        None => "on every site".to_owned(),
    }
}

fn undo(verdict: &Value) -> String {
    let prefix = text_of(&verdict["prefix"]);
    match verdict["site"].as_str() {
        Some(site) => format!("aegis unban {prefix} --site {}", tame(site)),
        None => format!("aegis unban {prefix}"),
    }
}

fn author(verdict: &Value) -> String {
    format!(
        "{} {}",
        text_of(&verdict["author"]["kind"]),
        text_of(&verdict["author"]["name"])
    )
}

fn done(kind: &Value) -> &'static str {
    if kind == "ban" { "banned" } else { "allowed" }
}

fn why_text(answer: &Value) -> String {
    let mut out = String::new();
    let address = text_of(&answer["address"]);
    let verdicts = answer["verdicts"].as_array().map_or(&[][..], Vec::as_slice);
    if verdicts.is_empty() {
        line!(out, "{address} is neither banned nor allowed");
    }
    for (index, verdict) in verdicts.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let beaten = if verdict["holds"] == true {
            ""
        } else {
            "   (another one goes before it)"
        };
        line!(
            out,
            "{address} is {} {}, {}{beaten}",
            done(&verdict["kind"]),
            place(verdict),
            end(verdict)
        );
        let prefix = text_of(&verdict["prefix"]);
        if prefix != address {
            line!(out, "  as      {prefix}");
        }
        line!(out, "  why     {}", text_of(&verdict["reason"]));
        let request = match verdict["request"].as_str() {
            Some(request) => format!(", request {}", tame(request)),
            None => String::new(),
        };
        line!(out, "  by      {}{request}", author(verdict));
        let since = text_of(&verdict["since"]);
        let hits = verdict["hits"].as_u64().unwrap_or(0);
        if verdict["kind"] == "ban" {
            let deep = if verdict["http_only"] == true {
                "requests; the connection is let in"
            } else {
                "requests and connections"
            };
            line!(out, "  since   {since}, {hits} refused ({deep})");
        } else {
            line!(out, "  since   {since}");
        }
        line!(out, "  undo    {}", undo(verdict));
    }
    if let Some(what) = answer["protected"]["what"].as_str() {
        let prefix = text_of(&answer["protected"]["prefix"]);
        line!(out, "never banned by a rule: {prefix} ({})", tame(what));
    }
    out
}

fn put_text(answer: &Value) -> String {
    let mut out = String::new();
    let verdict = &answer["verdict"];
    let prefix = text_of(&verdict["prefix"]);
    line!(
        out,
        "{} {prefix} {}, {}",
        done(&verdict["kind"]),
        place(verdict),
        end(verdict)
    );
    let replaced = &answer["replaced"];
    if replaced.is_object() {
        line!(
            out,
            "  instead of: {} {}, {}",
            done(&replaced["kind"]),
            end(replaced),
            text_of(&replaced["reason"])
        );
    }
    line!(out, "  undo    {}", undo(verdict));
    unkept(answer, &mut out);
    out
}

fn unban_text(answer: &Value) -> String {
    let mut out = String::new();
    for verdict in answer["removed"].as_array().into_iter().flatten() {
        line!(
            out,
            "no longer {}: {} {}   ({} by {})",
            done(&verdict["kind"]),
            text_of(&verdict["prefix"]),
            place(verdict),
            text_of(&verdict["reason"]),
            author(verdict)
        );
    }
    unkept(answer, &mut out);
    out
}

fn unkept(answer: &Value, out: &mut String) {
    if answer["kept"] == false {
        line!(
            out,
            "  warning this holds now, but could not be written to disk: a restart may forget it (see the node's log)"
        );
    }
}

fn list_text(answer: &Value) -> String {
    let mut out = String::new();
    let verdicts = answer["verdicts"].as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<[String; 5]> = verdicts
        .iter()
        .map(|verdict| {
            let left = verdict["seconds_left"]
                .as_u64()
                .map_or("ever".to_owned(), span);
            let site = verdict["site"]
                .as_str()
                .map_or("every site".to_owned(), tame);
            [
                text_of(&verdict["prefix"]),
                text_of(&verdict["kind"]),
                left,
                site,
                author(verdict),
            ]
        })
        .collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3), width(4)];
    for ([prefix, kind, left, site, by], verdict) in rows.iter().zip(verdicts) {
        line!(
            out,
            "{prefix:0$}  {kind:1$}  {left:2$}  {site:3$}  {by:4$}  {reason}",
            widths[0],
            widths[1],
            widths[2],
            widths[3],
            widths[4],
            reason = text_of(&verdict["reason"])
        );
    }
    let more = if answer["more"] == true {
        "; there are more, see --limit"
    } else {
        ""
    };
    line!(
        out,
        "{} shown, {} kept of at most {}{more}",
        rows.len(),
        answer["entries"],
        answer["entries_max"]
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban() -> Value {
        json!({
            "kind": "ban", "prefix": "203.0.113.9", "site": "shop.example.com",
            "author": { "kind": "rule", "name": "waf" }, "reason": "5 WAF blocks in 60 s\u{1b}",
            "request": "01JD8Z3V6Q0000000000000000", "since": "2026-11-20T18:04:11Z", "until": "2026-11-20T18:14:11Z",
            "seconds_left": 423, "http_only": true, "hits": 41, "holds": true,
        })
    }

    #[test]
    fn why_has_the_answer_first_and_the_way_out_last() {
        let text =
            why_text(&json!({ "address": "203.0.113.9", "verdicts": [ban()], "protected": null }));
        assert_eq!(
            text,
            "203.0.113.9 is banned on site shop.example.com, until 2026-11-20T18:14:11Z (in 7 min 3 s)\n\
             \x20 why     5 WAF blocks in 60 s\\u{1b}\n\
             \x20 by      rule waf, request 01JD8Z3V6Q0000000000000000\n\
             \x20 since   2026-11-20T18:04:11Z, 41 refused (requests; the connection is let in)\n\
             \x20 undo    aegis unban 203.0.113.9 --site shop.example.com\n"
        );
        let none = why_text(&json!({
            "address": "127.0.0.1", "verdicts": [], "protected": { "prefix": "127.0.0.0/8", "what": "loopback" },
        }));
        assert_eq!(
            none,
            "127.0.0.1 is neither banned nor allowed\nnever banned by a rule: 127.0.0.0/8 (loopback)\n"
        );
    }

    #[test]
    fn what_was_done_can_be_undone_and_what_is_not_kept_is_said() {
        let text = put_text(&json!({ "verdict": ban(), "replaced": null, "kept": false }));
        assert!(
            text.starts_with("banned 203.0.113.9 on site shop.example.com, until"),
            "{text}"
        );
        assert!(
            text.contains("aegis unban 203.0.113.9") && text.contains("warning"),
            "{text}"
        );
        let text = unban_text(&json!({ "removed": [ban()], "kept": true }));
        assert!(text.starts_with("no longer banned: 203.0.113.9"), "{text}");
    }

    #[test]
    fn a_list_is_a_table() {
        let mut ever = ban();
        ever["seconds_left"] = Value::Null;
        ever["site"] = Value::Null;
        let text = list_text(
            &json!({ "verdicts": [ban(), ever], "more": false, "entries": 2, "entries_max": 10 }),
        );
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[0].starts_with("203.0.113.9  ban  7 min 3 s  shop.example.com  rule waf"),
            "{text}"
        );
        assert!(
            lines[1].starts_with("203.0.113.9  ban  ever       every site "),
            "{text}"
        );
        assert_eq!(lines[2], "2 shown, 2 kept of at most 10");
    }
}
