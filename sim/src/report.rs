//! A run as one HTML page: each host over time, how many hosts were in service
//! and how many had to be, and the story. The page is plain HTML and SVG: it
//! loads nothing and runs no script.

mod picture;

use std::fmt::Write as _;

use proto::id::GroupName;

use crate::clock::Moment;
use crate::world::World;

const STYLE: &str = include_str!("report/style.css");

/// The facts that the page shows besides the contents of the world.
pub struct Heading<'t> {
    /// The first line is the title.
    pub title: &'t [String],
    /// True if every `expect` line held.
    pub holds: bool,
    /// The results of the run as text.
    pub tables: &'t str,
    /// The time at which the story began.
    pub zero: Moment,
}

/// Returns the whole page.
pub fn page(heading: &Heading<'_>, world: &World) -> String {
    let zero = heading.zero;
    let title = heading.title.first().map_or("A run", String::as_str);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{0}</title>\n<style>\n{STYLE}</style></head>\n<body>\n<header>\n<p \
         class=\"verdict {1}\">{2}</p>\n<h1>{0}</h1>\n",
        escaped(title),
        if heading.holds { "good" } else { "bad" },
        if heading.holds { "came as expected" } else { "came otherwise" },
    );
    for line in heading.title.iter().skip(1) {
        put(&mut page, format_args!("<p class=\"rule\">{}</p>\n", escaped(line)));
    }
    page.push_str("</header>\n");
    let groups: Vec<GroupName> = world.checks().model.groups().keys().cloned().collect();
    for group in groups {
        let picture = picture::of(world, &group, zero);
        put(
            &mut page,
            format_args!("<section><h2>{}</h2>\n{picture}</section>\n", escaped(&group.to_string())),
        );
    }
    put(&mut page, format_args!("<section><h2>The story</h2>\n<table class=\"story\">\n"));
    for (at, line) in world.story().lines().iter().filter(|(at, _)| *at >= zero) {
        let class = if line.starts_with(' ') { " class=\"shown\"" } else { "" };
        put(
            &mut page,
            format_args!("<tr><td>{}</td><td{class}>{}</td></tr>\n", at.since(zero), escaped(line)),
        );
    }
    put(
        &mut page,
        format_args!(
            "</table></section>\n<section><h2>What it came to</h2>\n<pre>{}</pre></section>\n</body></html>\n",
            escaped(heading.tables)
        ),
    );
    page
}

fn put(page: &mut String, arguments: std::fmt::Arguments<'_>) {
    page.write_fmt(arguments).expect("a text takes everything");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Scenario, perform};

    #[test]
    fn a_page_stands_alone_and_shows_each_host() {
        let text = "# One & only <b>\nhosts 3\ngroup web/prod OneAtATime\nrunning v1\nat 5s deploy v2\n";
        let scenario = Scenario::parse("x.txt", text).expect("a scenario");
        let performance = perform(&scenario, 1, |_| {});
        let heading = Heading {
            title: &scenario.title,
            holds: performance.holds,
            tables: &performance.tables,
            zero: performance.zero,
        };
        let page = page(&heading, &performance.world);
        for part in
            ["One &amp; only &lt;b&gt;", ">h1<", ">h3<", "<svg", "in its turn", "d1: h2 begins its turn"]
        {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
        for foreign in ["<script", "http://", "https://", "<link", "<img"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        // Every element that is opened must be closed. Browsers forgive a
        // missing end tag; people who read the source do not.
        for element in ["svg", "table", "section", "tr", "td", "text", "title", "pre", "g"] {
            let opened =
                page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
            assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
        }
    }
}
