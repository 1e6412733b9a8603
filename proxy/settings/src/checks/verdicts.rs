//! Rules of bans and tokens: names that are there once, bans that fit under their longest.

use crate::context::Checker;
use crate::model::Settings;
use crate::scalar::show_duration;

pub(super) fn check(settings: &Settings, checker: &mut Checker<'_, '_>) {
    let rules = &settings.node.verdicts.rules;
    let names = rules.iter().map(|rule| rule.name.as_str());
    once("node.verdicts.rules", names, checker);
    for (index, rule) in rules.iter().enumerate() {
        let key = |name: &str| format!("node.verdicts.rules[{index}].{name}");
        if rule.ban > rule.ban_max
            && !checker.is_bad(&key("ban"))
            && !checker.is_bad(&key("ban_max"))
        {
            let (ban, max) = (show_duration(rule.ban), show_duration(rule.ban_max));
            checker.error(
                &key("ban"),
                &format!(" {ban} is longer than `ban_max`, {max}"),
                "make it shorter, or `ban_max` longer",
            );
        }
    }
    let tokens = &settings.node.admin.tokens;
    let names = tokens.iter().map(|token| token.name.as_str());
    once("node.admin.tokens", names, checker);
}

/// Names in a list, each of which may stand there once.
fn once<'a>(list: &str, names: impl Iterator<Item = &'a str>, checker: &mut Checker<'_, '_>) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, name) in names.enumerate() {
        let key = format!("{list}[{index}].name");
        if let Some(before) = seen.iter().position(|other| *other == name)
            && !checker.is_bad(&key)
        {
            checker.error(
                &key,
                &format!(" `{name}` is also {list}[{before}].name"),
                "give one of them another name",
            );
        }
        seen.push(name);
    }
}
