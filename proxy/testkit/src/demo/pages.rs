//! The shop's pages.

use super::PRODUCTS;

pub(super) const STYLE: &str = "\
:root { color-scheme: light dark }
body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem }
nav a { margin-right: 1rem } ul.shelf { display: flex; gap: 1rem; flex-wrap: wrap; list-style: none; padding: 0 }
ul.shelf img { width: 9rem; border-radius: .5rem; display: block }
";

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title} · Corner Shop</title><link rel=\"stylesheet\" href=\"/style.css\">\n\
         <nav><a href=\"/\">Shop</a><a href=\"/search\">Search</a><a href=\"/about\">About</a></nav>\n<h1>{title}</h1>\n{body}\n</html>\n"
    )
}

pub(super) fn front() -> String {
    page(
        "Corner Shop",
        &format!("<p>Four good things.</p>{}", shelf(0..PRODUCTS.len())),
    )
}

pub(super) fn about() -> String {
    page(
        "About",
        "<p>This shop is the origin of the Aegis demo. Send us a file:</p>\n\
         <form method=\"post\" action=\"/upload\" enctype=\"multipart/form-data\"><input type=\"file\" name=\"file\"><button>Send</button></form>",
    )
}

pub(super) fn product(i: usize) -> String {
    let (name, cents, _) = PRODUCTS[i];
    let price = format!("{}.{:02} €", cents / 100, cents % 100);
    page(
        name,
        &format!("<img src=\"/img/{i}.svg\" alt=\"\"><p>{price}</p>"),
    )
}

pub(super) fn search(asked: &str) -> String {
    let form = format!(
        "<form><input name=\"q\" value=\"{}\" aria-label=\"Search\"><button>Search</button></form>",
        escape(asked)
    );
    let words = asked.to_lowercase();
    let found = (0..PRODUCTS.len()).filter(|i| PRODUCTS[*i].0.to_lowercase().contains(&words));
    let result = match asked {
        "" => String::new(),
        _ => format!("<p>For “{}”:</p>{}", escape(asked), shelf(found)),
    };
    page("Search", &format!("{form}{result}"))
}

pub(super) fn picture(i: usize) -> String {
    let (name, _, colour) = PRODUCTS[i];
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 90 90\"><rect width=\"90\" height=\"90\" fill=\"{colour}\"/>\
         <circle cx=\"45\" cy=\"40\" r=\"22\" fill=\"#fff\" fill-opacity=\".8\"/>\
         <text x=\"45\" y=\"82\" font-size=\"11\" text-anchor=\"middle\" fill=\"#fff\">{name}</text></svg>\n"
    )
}

fn shelf(products: impl Iterator<Item = usize>) -> String {
    let mut list = String::from("<ul class=\"shelf\">");
    for i in products {
        let name = PRODUCTS[i].0;
        list += &format!(
            "<li><a href=\"/product/{i}\"><img src=\"/img/{i}.svg\" alt=\"\">{name}</a></li>"
        );
    }
    list.push_str("</ul>");
    list
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
