//! `aegis check`: everything wrong at once, with its place and remedy.

use aegis_testkit::aegis::{Builder, command};
use aegis_testkit::certs::Authority;
use aegis_testkit::{Aegis, Origin, Reply};
use serde_json::json;

fn before() -> Builder {
    let origin = Origin::start(|_| Reply::text("hello"));
    Aegis::before(&origin)
}

/// Exit code and words of `aegis check`.
fn check(builder: Builder) -> (i32, String) {
    let output = builder.check();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code().unwrap_or(-1), text)
}

#[test]
fn good_settings_are_0() {
    let (code, text) = check(before());
    assert_eq!(code, 0, "{text}");
}

#[test]
fn everything_wrong_is_said_at_once_with_line_and_remedy() {
    let (code, text) = check(
        before()
            .set("sites[0].waf", json!({ "paranoa": 2 }))
            .set("sites[0].origin", "apis")
            .set("pools.api.servers", json!(["127.0.0.1:1"]))
            .set("node.cache.memory", "many")
            .set("node.client.idle_timeout", "2d"),
    );
    assert_eq!(code, 78, "{text}");
    for part in [
        "sites[0].waf.paranoa",
        "did you mean `paranoia`?",
        "apis",
        "api",
        "node.cache.memory",
        "node.client.idle_timeout",
        "nothing was changed",
    ] {
        assert!(text.contains(part), "“{part}” is missing in\n{text}");
    }
    assert!(text.matches("aegis.yaml:").count() >= 4, "{text}");
}

#[test]
fn each_kind_of_mistake_is_named() {
    let gone = json!([{ "cert": "gone.pem", "key": "file:gone.key" }]);
    let off = json!({ "mode": "off" });
    for (builder, part) in [
        (before().set("sites[0].waf.paranoia", "high"), "paranoia"),
        (before().set("sites[0].waf.paranoia", 5), "1 to 4"),
        (before().set("certificates", gone), "gone.pem"),
        (
            before().set(
                "sites[1]",
                json!({ "hosts": ["*"], "origin": "http://127.0.0.1:1", "waf": off }),
            ),
            "hosts",
        ),
        (before().set("version", 2), "version"),
    ] {
        let (code, text) = check(builder);
        assert_eq!(code, 78, "{text}");
        assert!(text.contains(part), "“{part}” is missing in\n{text}");
    }
}

#[test]
fn a_certificate_that_is_expired_or_of_another_key_is_an_error() {
    let authority = Authority::new();
    let [one, two] = ["one.test", "two.test"].map(|n| authority.issue(&[n]));
    let expired = authority.issue_expired(&["old.test"]);
    for (cert, key, part) in [
        (&one.cert, &two.key, "does not belong"),
        (&expired.cert, &expired.key, "expired"),
    ] {
        let key = format!("file:{}", key.display());
        let (code, text) =
            check(before().set("certificates", json!([{ "cert": cert, "key": key }])));
        assert_eq!(code, 78, "{text}");
        assert!(text.contains(part), "“{part}” is missing in\n{text}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_64() {
    assert_eq!(command(&["chekc"]).status.code(), Some(64));
    assert_eq!(command(&["check", "--nonsense"]).status.code(), Some(64));
    assert_eq!(command(&["--help"]).status.code(), Some(0));
}

#[test]
fn json_says_the_same_to_programs() {
    let builder = before().set("sites[0].waf.paranoia", 5).written();
    let output = command(&[
        "check",
        "-o",
        "json",
        "-c",
        &builder.config_path().display().to_string(),
    ]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["ok"], false);
    let problems = answer["problems"].as_array().unwrap();
    let error = problems.iter().find(|p| p["severity"] == "error").unwrap();
    assert_eq!(error["key"], "sites[0].waf.paranoia");
    assert!(error["at"]["line"].as_u64().unwrap() > 1);
}

#[test]
fn seclang_is_compiled_and_a_fault_names_its_file_and_line() {
    let own = |rules: &str| {
        before()
            .file("own.conf", rules)
            .set("sites[0].waf", json!({ "seclang": ["own.conf"] }))
    };
    let (code, text) = check(own(
        "# two lines\nSecRule ARGS \"@rx (\" \"id:1,phase:2,deny\"\n",
    ));
    assert_eq!(code, 78, "{text}");
    for part in ["own.conf:2: ", "nothing was changed"] {
        assert!(text.contains(part), "“{part}” is missing in\n{text}");
    }
    let (code, text) = check(own("SecRule ARGS:x \"@streq y\" \"id:1,phase:2,deny\"\n"));
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("own.conf: ") && text.contains(" MiB for each"),
        "{text}"
    );
}

#[test]
fn a_module_that_cannot_start_is_found_unless_it_is_left_out() {
    let broken = before()
        .file("broken.wasm", "(module)")
        .set("plugins.broken", json!({ "module": "broken.wasm" }))
        .set("sites[0].plugins", json!(["broken"]))
        .written();
    let path = broken.config_path().display().to_string();
    let quick = command(&["check", "--quick", "-c", &path]);
    assert_eq!(quick.status.code(), Some(0), "{quick:?}");
    let output = command(&["check", "-o", "json", "-c", &path]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = answer["problems"].as_array().unwrap();
    let problem = problems.iter().find(|p| p["severity"] == "error").unwrap();
    assert!(
        problem["message"].as_str().unwrap().contains("broken.wasm"),
        "{problem}"
    );
    assert_eq!(
        problem["at"]["line"],
        serde_json::Value::Null,
        "a file has no line 0"
    );
}
