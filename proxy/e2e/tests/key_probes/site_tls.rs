//! `https:`, `hsts:` and `client_auth:` of sites, and `node.tls:`

use aegis_testkit::certs::{Authority, Pair};
use aegis_testkit::{Aegis, Origin, Reply, eventually};
use e2e::s_client::Call;
use serde_json::{Value, json};

fn origin() -> Origin {
    Origin::start(|_| Reply::text("hello"))
}

/// `Strict-Transport-Security` with these keys.
fn told(hsts: Value) -> String {
    let origin = origin();
    let aegis = Aegis::before(&origin).set("sites[0].hsts", hsts).start();
    aegis
        .curl_tls("a.test", "/")
        .send()
        .header("strict-transport-security")
        .to_owned()
}

/// The status of a request with this certificate, and the names of the fields the origin got of it.
fn asked(auth: Value, pair: Option<&Pair>) -> (u16, Vec<String>) {
    let origin = origin();
    let aegis = Aegis::before(&origin)
        .set("sites[0].client_auth", auth)
        .start();
    let mut curl = aegis.curl_tls("a.test", "/");
    if let Some(pair) = pair {
        curl = curl.arg(&[
            "--cert",
            &pair.cert.display().to_string(),
            "--key",
            &pair.key.display().to_string(),
        ]);
    }
    let status = curl.send().status;
    let fields = origin.requests().into_iter().flat_map(|request| {
        let names = request
            .headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect::<Vec<_>>();
        names
            .into_iter()
            .filter(|name| name.contains("client-cert"))
    });
    (status, fields.collect())
}

rows! {
    "sites[].https" plain_http_is_served_or_redirected {
        let origin = origin();
        let statuses = ["optional", "redirect"].map(|https| Aegis::before(&origin).set("sites[0].https", https).start().get("/").status);
        assert_eq!(statuses, [200, 301]);
    }
    "sites[].hsts.max_age" browsers_keep_to_tls_so_long {
        assert_eq!(["1h", "2h"].map(|age| told(json!({ "max_age": age }))), ["max-age=3600", "max-age=7200"]);
    }
    "sites[].hsts.include_subdomains" other_names_below_are_meant_too {
        let values = [false, true].map(|all| told(json!({ "max_age": "1h", "include_subdomains": all })));
        assert_eq!(values, ["max-age=3600", "max-age=3600; includeSubDomains"]);
    }
    "sites[].hsts.preload" browsers_may_build_it_in {
        let values = [false, true].map(|preload| told(json!({ "include_subdomains": true, "preload": preload })).contains("preload"));
        assert_eq!(values, [false, true]);
    }
    "sites[].client_auth.mode" a_certificate_is_needed_or_not {
        let authority = Authority::new();
        let statuses = ["required", "optional"].map(|mode| asked(json!({ "ca": authority.cert(), "mode": mode }), None).0);
        assert_eq!(statuses, [0, 200]);
    }
    "sites[].client_auth.ca" its_holders_get_in {
        let authorities = [Authority::new(), Authority::new()];
        let anna = authorities[1].issue(&["anna"]);
        let statuses = authorities.map(|authority| asked(json!({ "ca": authority.cert() }), Some(&anna)).0);
        assert_eq!(statuses, [0, 200]);
    }
    "sites[].client_auth.crl" who_is_in_it_does_not {
        let authority = Authority::new();
        let anna = authority.issue(&["anna"]);
        let lists = [authority.revocation_list(&[]), authority.revocation_list(&[&anna])];
        let statuses = lists.map(|crl| asked(json!({ "ca": authority.cert(), "crl": crl }), Some(&anna)).0);
        assert_eq!(statuses, [200, 0]);
    }
    "sites[].client_auth.forward" the_origin_is_told_so_much {
        let authority = Authority::new();
        let anna = authority.issue(&["anna"]);
        let told = [json!([]), json!(["fingerprint"])].map(|forward| asked(json!({ "ca": authority.cert(), "forward": forward }), Some(&anna)).1);
        assert_eq!(told, [vec![], vec!["x-client-cert-fingerprint".to_owned()]]);
    }
    "node.tls.ticket_rotation" a_ticket_lives_by_it {
        let origin = origin();
        for (rotation, ends) in [("1s", true), ("1h", false)] {
            let aegis = Aegis::before(&origin).set("node.tls.ticket_rotation", rotation).start();
            let session = aegis.dir().join("session");
            assert_eq!(Call::new(aegis.tls(), "a.test").keep(&session).send().status, 200);
            let resumed = || Call::new(aegis.tls(), "a.test").resume(&session).send().resumed;
            if ends {
                eventually("its key is gone", || (!resumed()).then_some(()));
            } else {
                assert!(resumed());
            }
        }
    }
}
