//! Draws one group: a row for each host, and below the rows the number of hosts
//! in service.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proto::id::{DeploymentId, Digest, GroupName, HostId};
use proto::service::Service;

use super::{escaped, put};
use crate::chronicle::Seen;
use crate::clock::Moment;
use crate::host::HostNo;
use crate::world::World;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 16.0;
const ROW: f64 = 20.0;
const TOP: f64 = 24.0;
/// The height of the curve below the rows.
const CURVE: f64 = 90.0;
/// The number of revision colours. Further revisions reuse them from the first.
const COLOURS: usize = 5;

/// The dimensions of a picture.
struct Scale {
    zero: Moment,
    seconds: f64,
    rows: usize,
}

impl Scale {
    fn x(&self, at: Moment) -> f64 {
        let passed = (at - self.zero).as_secs_f64();
        LEFT + passed / self.seconds * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, row: usize) -> f64 {
        TOP + row as f64 * ROW
    }

    /// Returns the height on the curve of `count` out of `most`.
    fn level(&self, count: u32, most: usize) -> f64 {
        let top = self.y(self.rows) + 30.0;
        top + CURVE - f64::from(count) / most.max(1) as f64 * CURVE
    }
}

/// A host's states, each with its start and end.
struct Row {
    host: HostNo,
    spans: Vec<(Moment, Moment, Seen)>,
}

pub(super) fn of(world: &World, group: &GroupName, zero: Moment) -> String {
    let end = world.now();
    let rows = rows(world, group, zero, end);
    let seconds = (end - zero).as_secs_f64().max(1.0);
    let scale = Scale { zero, seconds, rows: rows.len() };
    let revisions = revisions(world);
    let height = scale.y(rows.len()) + CURVE + 46.0;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">\n");
    grid(&mut svg, &scale, height);
    for (at, row) in rows.iter().enumerate() {
        let y = scale.y(at);
        put(
            &mut svg,
            format_args!("<text class=\"name\" x=\"4\" y=\"{:.1}\">{}</text>\n", y + 14.0, row.host),
        );
        row.spans.iter().for_each(|span| draw(&mut svg, world, &scale, y, span, &revisions));
    }
    deployments(&mut svg, world, group, &scale, end);
    curve(&mut svg, &rows, &scale, end);
    svg.push_str("</svg>\n");
    legend(&mut svg, world, &rows, &revisions);
    svg
}

fn rows(world: &World, group: &GroupName, zero: Moment, end: Moment) -> Vec<Row> {
    let mut seen: BTreeMap<HostNo, Vec<(Moment, Seen)>> = BTreeMap::new();
    for change in world.checks().chronicle.changes().iter().filter(|change| change.group == *group) {
        if let Some(no) = number(world, change.host) {
            seen.entry(no).or_default().push((change.at, change.seen));
        }
    }
    let row = |(host, changes): (HostNo, Vec<(Moment, Seen)>)| {
        let ends = changes.iter().skip(1).map(|(at, _)| *at).chain([end]);
        let spans = changes.iter().zip(ends).map(|((at, seen), until)| ((*at).max(zero), until, *seen));
        Row { host, spans: spans.filter(|(from, until, _)| from < until).collect() }
    };
    seen.into_iter().map(row).collect()
}

fn number(world: &World, host: HostId) -> Option<HostNo> {
    world.checks().number(host)
}

/// Returns the colour number of each revision, in the order of their names.
fn revisions(world: &World) -> BTreeMap<Digest, usize> {
    let mut bundles: Vec<(String, Digest)> =
        world.bundles().map(|bundle| (bundle.name.clone(), bundle.revision.digest)).collect();
    bundles.sort();
    bundles.into_iter().enumerate().map(|(at, (_, digest))| (digest, at % COLOURS)).collect()
}

/// Returns the CSS class of a state, and its tooltip.
fn look(world: &World, seen: &Seen, revisions: &BTreeMap<Digest, usize>) -> (String, String) {
    let runs = seen.revision.map_or("nothing known", |digest| world.story().bundle(&digest));
    match seen.service {
        Service::Serving => {
            let colour = seen.revision.and_then(|digest| revisions.get(&digest)).copied().unwrap_or_default();
            (format!("r{colour}"), format!("in service, {runs}"))
        }
        Service::InTurn => ("turn".into(), "in its turn".into()),
        Service::Unhealthy | Service::Unknown => ("unhealthy".into(), format!("unhealthy, {runs}")),
        Service::Down => ("down".into(), "Down".into()),
    }
}

fn draw(
    svg: &mut String,
    world: &World,
    scale: &Scale,
    y: f64,
    (from, until, seen): &(Moment, Moment, Seen),
    revisions: &BTreeMap<Digest, usize>,
) {
    let (class, words) = look(world, seen, revisions);
    let (x, to) = (scale.x(*from), scale.x(*until));
    put(
        svg,
        format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\" rx=\"2\"><title>{}: \
             {} to {}</title></rect>\n",
            y + 3.0,
            (to - x).max(0.8),
            escaped(&words),
            from.since(scale.zero),
            until.since(scale.zero)
        ),
    );
}

/// Returns the number of seconds between two grid lines, so that there are at most
/// twelve.
fn step(seconds: f64) -> u32 {
    const STEPS: [u32; 13] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200];
    STEPS.into_iter().find(|step| seconds / f64::from(*step) <= 12.0).unwrap_or(86_400)
}

fn grid(svg: &mut String, scale: &Scale, height: f64) {
    let step = step(scale.seconds);
    let lines = (0..).map(|line| line * step).take_while(|second| f64::from(*second) <= scale.seconds);
    for second in lines {
        let at = scale.zero + std::time::Duration::from_secs(u64::from(second));
        let x = scale.x(at);
        put(
            svg,
            format_args!(
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/><text x=\"{x:.1}\" \
                 y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                height - 16.0,
                height - 3.0,
                at.since(scale.zero)
            ),
        );
    }
}

fn deployments(svg: &mut String, world: &World, group: &GroupName, scale: &Scale, end: Moment) {
    let bottom = scale.level(0, 1);
    for id in world.story().told() {
        let model = world.checks().model.deployment(id);
        let Some(deployment) = model.filter(|d| d.submission.group == *group) else { continue };
        let Some((began, over)) = span(world, id, end) else { continue };
        let (x, to) = (scale.x(began), scale.x(over));
        let y = scale.level(deployment.minimum, scale.rows);
        put(
            svg,
            format_args!(
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/><text class=\"name\" \
                 x=\"{:.1}\" y=\"16\">{} {} {}</text>\n<line class=\"minimum\" x1=\"{x:.1}\" x2=\"{to:.1}\" \
                 y1=\"{y:.1}\" y2=\"{y:.1}\"><title>at least {} must stay healthy</title></line>\n",
                x + 3.0,
                world.story().deployment(id),
                escaped(world.story().bundle(&deployment.submission.revision.digest)),
                deployment.status.name(),
                deployment.minimum
            ),
        );
    }
}

fn span(world: &World, id: DeploymentId, end: Moment) -> Option<(Moment, Moment)> {
    let course = world.checks().chronicle.course(id)?;
    Some((course.began?, course.over.unwrap_or(end)))
}

/// Draws the number of hosts in service as a step curve.
fn curve(svg: &mut String, rows: &[Row], scale: &Scale, end: Moment) {
    let in_service = |(_, _, seen): &&(Moment, Moment, Seen)| seen.service == Service::Serving;
    let mut steps: BTreeMap<Moment, i64> = BTreeMap::new();
    for (from, until, _) in rows.iter().flat_map(|row| row.spans.iter().filter(in_service)) {
        *steps.entry(*from).or_default() += 1;
        *steps.entry(*until).or_default() -= 1;
    }
    let (mut path, mut count) = (String::new(), 0_i64);
    for (at, change) in steps.range(..end) {
        let x = scale.x(*at);
        let before = scale.level(u32::try_from(count).unwrap_or_default(), rows.len());
        count += change;
        let after = scale.level(u32::try_from(count).unwrap_or_default(), rows.len());
        let from = if path.is_empty() { "M" } else { "L" };
        if path.is_empty() {
            write!(path, "{from}{x:.1} {after:.1}").expect("a text takes everything");
        } else {
            write!(path, "{from}{x:.1} {before:.1}L{x:.1} {after:.1}").expect("a text takes everything");
        }
    }
    let last = scale.level(u32::try_from(count).unwrap_or_default(), rows.len());
    put(svg, format_args!("<path class=\"served\" d=\"{path}L{:.1} {last:.1}\"/>\n", scale.x(end)));
    for count in [0, rows.len()] {
        let y = scale.level(u32::try_from(count).expect("few hosts"), rows.len());
        put(
            svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{count}</text>\n",
                LEFT - 6.0,
                y + 4.0
            ),
        );
    }
}

fn legend(svg: &mut String, world: &World, rows: &[Row], revisions: &BTreeMap<Digest, usize>) {
    let mut looks: Vec<(String, String)> = Vec::new();
    for (_, _, seen) in rows.iter().flat_map(|row| &row.spans) {
        let (class, words) = look(world, seen, revisions);
        // The legend has one entry for all unhealthy states.
        let words = if matches!(seen.service, Service::Unhealthy | Service::Unknown) {
            "unhealthy".into()
        } else {
            words
        };
        if !looks.contains(&(class.clone(), words.clone())) {
            looks.push((class, words));
        }
    }
    looks.sort();
    svg.push_str("<ul class=\"legend\">");
    for (class, words) in looks {
        put(
            svg,
            format_args!(
                "<li><svg viewBox=\"0 0 10 10\"><rect class=\"{class}\" width=\"10\" height=\"10\" rx=\"2\"/></svg> {}</li>",
                escaped(&words)
            ),
        );
    }
    svg.push_str(
        "<li>below: hosts in service (line), and how many must stay healthy while a deployment runs (dashes)</li></ul>\n",
    );
}
