//! Tries every host function, driven by the request's path, and tells what it saw: a teaching example, and what the
//! host's tests ask.
//!
//! - `/t/<probe>`: a local response with one line for each thing seen ([`probes`]);
//! - `/h/edit`, `/h/set`: changes the request's header fields and goes on;
//! - `/b/keep`, `/b/prepend`, `/b/append`, `/b/replace`: reads the body, changes it and goes on;
//! - `/r/…`: marks the response's head, body and trailers;
//! - `/x/<callback>/<kind>`: does harm of this kind in this callback.
//!
//! `wasm-modules/examples/go/hostcalls` does the same in Go, to the letter.

mod lines;
mod probes;
mod query;
mod raw;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, MapType};
use query::Query;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|id| Box::new(Root { id, ticks: 0, lingering: Rc::default() }));
}}

/// Contexts that asked for time in `proxy_on_done`.
type Lingering = Rc<RefCell<Vec<u32>>>;

struct Root {
    id: u32,
    ticks: u32,
    lingering: Lingering,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        if self.get_plugin_configuration().as_deref() == Some(b"tick") {
            self.set_tick_period(Duration::from_millis(10));
        }
        true
    }

    /// Counts to three where every context can read it, and stops the clock.
    fn on_tick(&mut self) {
        self.ticks += 1;
        let _ = self.set_shared_data("ticks", Some(self.ticks.to_string().as_bytes()), None);
        if self.ticks == 3 {
            self.set_tick_period(Duration::ZERO);
        }
    }

    fn on_queue_ready(&mut self, queue: u32) {
        if let Ok(Some(item)) = self.dequeue_shared_queue(queue) {
            let _ = self.set_shared_data("taken by the root", Some(&item), None);
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            id,
            root: self.id,
            lingering: self.lingering.clone(),
            query: Query::default(),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    id: u32,
    root: u32,
    lingering: Lingering,
    query: Query,
}

impl Stream {
    fn answer(&self, lines: &str) -> Action {
        self.send_http_response(
            200,
            vec![("content-type", "text/plain")],
            Some(lines.as_bytes()),
        );
        Action::Pause
    }
}

impl Stream {
    fn harm_in(&self, callback: &str) {
        if let Some(kind) = self
            .query
            .under("/x/")
            .and_then(|rest| rest.strip_prefix(callback))
        {
            probes::harm(kind);
        }
    }
}

impl Context for Stream {
    fn on_done(&mut self) -> bool {
        self.harm_in("done/");
        if self.query.under("/t/") == Some("linger") {
            self.lingering.borrow_mut().push(self.id);
            return false;
        }
        true
    }

    fn on_http_call_response(&mut self, _token: u32, headers: usize, body: usize, trailers: usize) {
        let mut lines = format!("sizes: {headers} {body} {trailers}\n");
        for (name, value) in self.get_http_call_response_headers() {
            lines += &format!("field: {name}={value}\n");
        }
        let body = self
            .get_http_call_response_body(0, body)
            .unwrap_or_default();
        lines += &format!("body: {}\n", String::from_utf8_lossy(&body));
        for (name, value) in self.get_http_call_response_trailers() {
            lines += &format!("trailer: {name}={value}\n");
        }
        if self.query.get("then") == "continue" {
            let status = self
                .get_http_call_response_header(":status")
                .unwrap_or_default();
            self.set_http_request_header("x-called", Some(&status));
            self.resume_http_request();
        } else {
            self.answer(&lines);
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.query = Query::parse(&self.get_http_request_header(":path").unwrap_or_default());
        self.harm_in("request_headers/");
        match self.query.under("/h/") {
            Some("edit") => {
                self.add_http_request_header("x-added", "1");
                self.set_http_request_header("x-probe", Some("replaced"));
                self.set_http_request_header("x-gone", None);
            }
            Some("set") => {
                self.set_http_request_headers(vec![("host", "shop.example"), ("x-only", "this")])
            }
            _ => {}
        }
        match self.query.under("/t/") {
            None => Action::Continue,
            Some("call") => {
                probes::call(&self.query).map_or(Action::Pause, |lines| self.answer(&lines))
            }
            Some("answer") => probes::answer(),
            Some("close") => probes::close(),
            Some("linger") => Action::Continue,
            Some("context") => self.answer(&probes::context(self.id, self.root)),
            Some("done") => {
                let lingering = self.lingering.borrow_mut().drain(..).collect::<Vec<_>>();
                self.answer(&probes::done(self.id, &lingering))
            }
            Some(probe) => self.answer(&probes::run(probe, &self.query)),
        }
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        self.harm_in("request_body/");
        let Some(what) = self.query.under("/b/") else {
            return Action::Continue;
        };
        if !end {
            return Action::Pause;
        }
        let (mut len, mut flags) = (0, 0);
        let status = unsafe {
            raw::proxy_get_buffer_status(BufferType::HttpRequestBody as u32, &mut len, &mut flags)
        };
        let piece = |start, max| {
            String::from_utf8_lossy(&self.get_http_request_body(start, max).unwrap_or_default())
                .into_owned()
        };
        self.set_http_request_header(
            "x-body",
            Some(&format!(
                "{status} {size} {len} {}|{}",
                piece(0, 5),
                piece(5, 1 << 20)
            )),
        );
        let set = |start, len, with: &[u8]| {
            hostcalls::set_buffer(BufferType::HttpRequestBody, start, len, with)
        };
        let _ = match what {
            "prepend" => set(0, 0, b"<"),
            "append" => set(size, 0, b">"),
            "replace" => set(0, size, b"new"),
            _ => Ok(()),
        };
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, count: usize) -> Action {
        let first = self
            .get_http_request_trailer("x-trailer")
            .unwrap_or_default();
        self.set_http_request_header("x-trailers", Some(&format!("{count} {first}")));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.harm_in("response_headers/");
        if self.query.under("/r/").is_some() {
            let status = self.get_http_response_header(":status").unwrap_or_default();
            let code = self
                .get_property(vec!["response", "code"])
                .map_or(0, |b| b.first().copied().unwrap_or(0));
            self.add_http_response_header("x-seen", &format!("{status} {code}"));
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        self.harm_in("response_body/");
        if self.query.under("/r/").is_none() {
            return Action::Continue;
        }
        if !end {
            return Action::Pause;
        }
        let body = self.get_http_response_body(0, size).unwrap_or_default();
        self.set_http_response_body(
            0,
            size,
            format!("<{}>", String::from_utf8_lossy(&body)).as_bytes(),
        );
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        if self.query.under("/r/").is_some() {
            let _ = hostcalls::add_map_value(MapType::HttpResponseTrailers, "x-more", "trailer");
        }
        Action::Continue
    }
}
