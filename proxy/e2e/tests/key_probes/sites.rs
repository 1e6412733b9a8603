//! `sites:`, but for `waf:` and `cache:`

use super::plugins::with_answering;
use aegis_testkit::{Aegis, Answer, Origin, Reply};
use serde_json::{Value, json};

fn named(name: &'static str) -> Origin {
    Origin::start(move |_| Reply::text(name))
}

/// What `/x` gets with this route in force.
fn with_route(route: &Value) -> Answer {
    let origin = named("site");
    Aegis::before(&origin)
        .set("sites[0].routes", json!([route]))
        .start()
        .get("/x")
}

rows! {
    "sites[].hosts" they_are_answered {
        let origin = named("x");
        let statuses = ["one.test", "two.test"].map(|host| {
            let aegis = Aegis::before(&origin).set("sites[0].hosts", json!([host])).start();
            ["one.test", "two.test"].map(|h| aegis.curl("/").header(&format!("Host: {h}")).send().status)
        });
        assert_eq!(statuses, [[200, 404], [404, 200]]);
    }
    "sites[].origin" it_is_asked {
        let bodies = [named("one"), named("two")].map(|origin| Aegis::before(&origin).start().get("/").text());
        assert_eq!(bodies, ["one", "two"]);
    }
    "sites[].connections_max" one_connection_more_gets_503 {
        let origin = named("x");
        let statuses = [json!(1), json!(100)].map(|max| {
            let aegis = Aegis::before(&origin).set("sites[0].connections_max", max).start();
            let mut first = aegis.raw();
            assert_eq!(first.get("a", "/").status(), 200);
            assert_eq!(first.get("a", "/").status(), 200, "a connection counts once");
            aegis.raw().get("a", "/").status()
        });
        assert_eq!(statuses, [503, 200]);
    }
    "sites[].plugins" they_run {
        let origin = named("site");
        let bodies = [json!([]), json!(["answer"])].map(|plugins| {
            with_answering(Aegis::before(&origin)).set("sites[0].plugins", plugins).start().get("/").text()
        });
        assert_eq!(bodies, ["site", "plugin"]);
    }
    "sites[].methods" others_get_405 {
        let origin = named("site");
        let statuses = [json!(["GET"]), json!(["GET", "POST"])].map(|methods| {
            let aegis = Aegis::before(&origin).set("sites[0].methods", methods).start();
            let asked = aegis.curl("/").arg(&["-X", "POST"]).send();
            (asked.status, asked.header("allow").to_owned())
        });
        assert_eq!(statuses, [(405, "GET".to_owned()), (200, String::new())]);
    }
    "sites[].routes[].methods" they_count_in_place_of_the_sites {
        let origin = named("site");
        let statuses = [json!(["PURGE"]), json!(["GET", "HEAD"])].map(|methods| {
            let route = json!({ "match": { "path": "/x" }, "methods": methods });
            let aegis = Aegis::before(&origin)
                .set("sites[0].methods", json!(["GET"]))
                .set("sites[0].routes", json!([route]))
                .start();
            ["/x", "/"].map(|path| aegis.get(path).status)
        });
        assert_eq!(statuses, [[405, 200], [200, 200]]);
    }
    "sites[].routes[].plugins" they_run_in_place_of_the_sites {
        let origin = named("site");
        let bodies = [json!([]), json!(["answer"])].map(|plugins| {
            let aegis = with_answering(Aegis::before(&origin)).set("sites[0].plugins", json!(["answer"]));
            aegis.set("sites[0].routes", json!([{ "match": { "path": "/x" }, "plugins": plugins }])).start().get("/x").text()
        });
        assert_eq!(bodies, ["site", "plugin"]);
    }
    "sites[].routes[].match.path" it_chooses {
        let bodies = ["/x", "/y"].map(|path| with_route(&json!({ "match": { "path": path }, "respond": { "body": "route" } })).text());
        assert_eq!(bodies, ["route", "site"]);
    }
    "sites[].routes[].match.methods" they_choose {
        let route = |method: &str| json!({ "match": { "path": "/x", "methods": [method] }, "respond": { "body": "route" } });
        assert_eq!(["GET", "POST"].map(|m| with_route(&route(m)).text()), ["route", "site"]);
    }
    "sites[].routes[].origin" it_is_asked_instead {
        let bodies = [named("one"), named("two")].map(|o| with_route(&json!({ "match": { "path": "/x" }, "origin": o.url() })).text());
        assert_eq!(bodies, ["one", "two"]);
    }
    "sites[].routes[].redirect.status" it_is_the_status_of_the_redirect {
        let statuses = [301, 308].map(|status| with_route(&json!({ "match": { "path": "/x" }, "redirect": { "status": status, "to": "/y" } })).status);
        assert_eq!(statuses, [301, 308]);
    }
    "sites[].routes[].redirect.to" it_is_where_to {
        let to = ["/y", "/z"].map(|to| with_route(&json!({ "match": { "path": "/x" }, "redirect": { "to": to } })).header("location").to_owned());
        assert_eq!(to, ["/y", "/z"]);
    }
    "sites[].routes[].respond.status" it_is_the_status_of_the_answer {
        let statuses = [200, 410].map(|status| with_route(&json!({ "match": { "path": "/x" }, "respond": { "status": status } })).status);
        assert_eq!(statuses, [200, 410]);
    }
    "sites[].routes[].respond.content_type" it_is_the_type_of_the_answer {
        let types = ["text/html", "text/css"].map(|t| {
            with_route(&json!({ "match": { "path": "/x" }, "respond": { "content_type": t } })).header("content-type").to_owned()
        });
        assert_eq!(types, ["text/html", "text/css"]);
    }
    "sites[].routes[].respond.body" it_is_the_answer {
        let bodies = ["one", "two"].map(|body| with_route(&json!({ "match": { "path": "/x" }, "respond": { "body": body } })).text());
        assert_eq!(bodies, ["one", "two"]);
    }
}
