//! A [`SubGraph`] as a picture: one self-contained SVG, readable without Graphviz and without scripts.
//!
//! Dependents stand on the left, what they need on the right. What would make a picture illegible is left out,
//! and the picture says so: of each level only the best connected nodes are drawn, with a node for the rest;
//! edges that pass the subject by are not drawn, nor, in a large picture, edges among those equally far from it;
//! packages from outside and missing requirements are drawn beside the subject only. All of it is in the
//! graph's JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::layout::{Layout, Spacing, place};
use crate::neighbourhood::{SubEdge, SubGraph, SubNode};
use crate::query::Member;

/// Nodes of one level that are drawn; beyond this a column does not fit on a screen.
const NODES_IN_LEVEL: usize = 24;
/// Columns of a picture in which all edges of a level are drawn; where there would be more, only edges from one
/// level to the next are, so that each level is a column.
const COLUMNS: usize = 8;
/// In a drawing of so few edges all stand out, not only those at the subject.
const FEW_EDGES: usize = 8;
const EXPLANATION: &str =
    "An arrow leads from who needs to what is needed; pointing at it shows the requirements.";
/// Names that the tooltip of a node for the rest lists.
const NAMES_IN_TOOLTIP: usize = 60;
/// Characters of a label.
const LABEL_LENGTH: usize = 36;
/// Height of letters in pixels.
const LETTERS: f64 = 12.0;
/// Around everything.
const MARGIN: f64 = 24.0;
/// Above the graph, for the heading.
const HEADING: f64 = 66.0;
/// Below it, for the legend.
const LEGEND: f64 = 46.0;
const SPACING: Spacing = Spacing { node_height: 24.0, row_gap: 9.0, column_gap: 64.0 };

/// What is drawn.
struct Picture<'g> {
    shown: Vec<Shown<'g>>,
    lines: Vec<Line<'g>>,
    /// Edges that pass the subject by.
    passing: usize,
    /// Edges among nodes that are equally far from the subject, or that skip a level.
    within_levels: usize,
    /// Whether something from outside or missing was left out.
    outside_left_out: bool,
}

enum Shown<'g> {
    Node {
        node: &'g SubNode,
        is_subject: bool,
    },
    /// Stands for nodes of a level that are not drawn.
    Rest {
        level: i64,
        hidden: Vec<&'g SubNode>,
    },
}

struct Line<'g> {
    ends: (usize, usize),
    /// `None` for the line to a node for the rest.
    edge: Option<&'g SubEdge>,
    at_subject: bool,
}

impl SubGraph {
    /// Returns the graph as SVG.
    pub fn to_svg(&self) -> String {
        let (picture, widths, layout) = self.laid_out(false);
        let has_levels = self.nodes.iter().any(|node| node.level != 0);
        if layout.columns <= COLUMNS || !has_levels {
            return self.draw(&picture, &widths, &layout);
        }
        let (picture, widths, layout) = self.laid_out(true);
        self.draw(&picture, &widths, &layout)
    }

    fn laid_out(&self, only_shortest: bool) -> (Picture<'_>, Vec<f64>, Layout) {
        let picture = Picture::of(self, only_shortest);
        let width = |shown: &Shown<'_>| (text_width(&shown.label()) + 20.0).ceil();
        let widths: Vec<f64> = picture.shown.iter().map(width).collect();
        let ends: Vec<(usize, usize)> = picture.lines.iter().map(|line| line.ends).collect();
        let layout = place(&widths, &ends, &SPACING);
        (picture, widths, layout)
    }

    fn draw(&self, picture: &Picture<'_>, widths: &[f64], layout: &Layout) -> String {
        let notes = picture.notes();
        // The title's letters are a third larger, and bold.
        let least = (text_width(&self.title) * 1.5).max(text_width(EXPLANATION));
        let legend = picture.legend();
        let legend_width: f64 = legend.iter().map(|(_, text)| text_width(text) + 52.0).sum();
        let notes_width = notes.iter().map(|note| text_width(note)).fold(0.0, f64::max);
        let width = layout.width.max(least).max(legend_width).max(notes_width) + 2.0 * MARGIN;
        let below = LEGEND + notes.len() as f64 * 16.0;
        let height = layout.height + HEADING + below + MARGIN;
        let left = MARGIN + (width - 2.0 * MARGIN - layout.width) / 2.0;
        let mut svg = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"DejaVu Sans, Verdana, Arial, sans-serif\" font-size=\"{LETTERS}\" role=\"img\" aria-labelledby=\"title\">\n\
             <title id=\"title\">{title}</title>\n{STYLE}\
             <rect width=\"100%\" height=\"100%\" fill=\"#fcfcfa\"/>\n\
             <text x=\"{MARGIN}\" y=\"32\" font-size=\"16\" font-weight=\"bold\">{title}</text>\n\
             <text x=\"{MARGIN}\" y=\"50\" fill=\"#666\">{EXPLANATION}</text>\n",
            title = xml(&self.title),
        );
        let _ = writeln!(svg, "<g transform=\"translate({left:.1} {HEADING})\">");
        // Those at the subject last, so that they lie on top.
        let mut lines: Vec<(&Line<'_>, &Vec<(f64, f64)>)> =
            picture.lines.iter().zip(&layout.routes).collect();
        lines.sort_by_key(|(line, _)| line.at_subject);
        for (line, route) in lines.iter().filter(|(_, route)| route.len() > 1) {
            self.draw_line(line, route, &mut svg);
        }
        for ((shown, width), (x, middle)) in picture.shown.iter().zip(widths).zip(&layout.nodes) {
            shown.draw(*x, *middle, *width, &mut svg);
        }
        svg.push_str("</g>\n");
        draw_legend(&legend, layout.height + HEADING + 30.0, &mut svg);
        for (index, note) in notes.iter().enumerate() {
            let y = layout.height + HEADING + LEGEND + 12.0 + index as f64 * 16.0;
            let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"{y:.1}\" fill=\"#666\">{}</text>", xml(note));
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn draw_line(&self, line: &Line<'_>, route: &[(f64, f64)], svg: &mut String) {
        let class = match line.edge {
            None => "e rest",
            Some(_) if line.at_subject => "e own",
            Some(_) => "e",
        };
        let (stroke, stroke_width, arrow) =
            if line.at_subject { ("#444", 1.4, "own-arrow") } else { ("#b4b4b4", 1.0, "arrow") };
        let dashes = match line.edge {
            None => " stroke-dasharray=\"1 4\"",
            Some(edge) if edge.is_for_builds() => "",
            Some(_) => " stroke-dasharray=\"5 3\"",
        };
        let _ = write!(
            svg,
            "<path class=\"{class}\" d=\"{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{stroke_width}\"\
             {dashes} marker-end=\"url(#{arrow})\">",
            curve(route)
        );
        if let Some(edge) = line.edge {
            let (from, to) = (xml(&edge.from), xml(&edge.to));
            let _ = write!(svg, "<title>{from} → {to}\n{}</title>", xml(&edge.text("\n")));
        }
        svg.push_str("</path>\n");
    }
}

impl<'g> Picture<'g> {
    fn of(graph: &'g SubGraph, only_shortest: bool) -> Self {
        let levels: BTreeMap<&str, i64> =
            graph.nodes.iter().map(|node| (node.name.as_str(), node.level)).collect();
        let mut picture = Self {
            shown: Vec::new(),
            lines: Vec::new(),
            passing: 0,
            within_levels: 0,
            outside_left_out: false,
        };
        let mut degrees: BTreeMap<&str, usize> = BTreeMap::new();
        for name in graph.edges.iter().flat_map(|edge| [edge.from.as_str(), edge.to.as_str()]) {
            *degrees.entry(name).or_default() += 1;
        }
        let mut by_level: BTreeMap<(i64, bool), Vec<&SubNode>> = BTreeMap::new();
        for node in &graph.nodes {
            if node.level.abs() > 1 && !matches!(node.member, Member::Spec { .. }) {
                picture.outside_left_out = true;
            } else {
                by_level.entry((node.level.abs(), node.level < 0)).or_default().push(node);
            }
        }
        let mut kept: BTreeSet<&str> = BTreeSet::new();
        let mut rests = Vec::new();
        for ((distance, is_dependent), mut nodes) in by_level {
            if distance > 0 && nodes.len() > NODES_IN_LEVEL {
                let mut near: BTreeMap<&str, usize> = BTreeMap::new();
                for edge in &graph.edges {
                    let (inner, outer) =
                        if is_dependent { (&edge.to, &edge.from) } else { (&edge.from, &edge.to) };
                    if kept.contains(inner.as_str()) {
                        *near.entry(outer).or_default() += 1;
                    }
                }
                let of = |map: &BTreeMap<&str, usize>, node: &SubNode| {
                    map.get(node.name.as_str()).copied().unwrap_or(0)
                };
                // Connected to what is drawn; specs before others; best connected.
                nodes.sort_by_cached_key(|node| {
                    let is_spec = matches!(node.member, Member::Spec { .. });
                    let key = (of(&near, node) > 0, is_spec, of(&degrees, node));
                    (std::cmp::Reverse(key), &node.member)
                });
                let mut hidden = nodes.split_off(NODES_IN_LEVEL);
                hidden.sort_by_key(|node| &node.member);
                nodes.sort_by_key(|node| &node.member);
                let level = if is_dependent { -distance } else { distance };
                rests.push((level, hidden));
            }
            kept.extend(nodes.iter().map(|node| node.name.as_str()));
            picture.shown.extend(nodes.into_iter().map(|node| {
                let is_subject = graph.subjects.iter().any(|subject| subject.is(&node.member));
                Shown::Node { node, is_subject }
            }));
        }
        picture.add_lines(graph, &levels, only_shortest);
        for (level, hidden) in rests {
            picture.add_rest(level, hidden);
        }
        picture.tie_loose_nodes();
        picture
    }

    fn add_lines(&mut self, graph: &'g SubGraph, levels: &BTreeMap<&str, i64>, only_shortest: bool) {
        let places: BTreeMap<&str, usize> = self
            .shown
            .iter()
            .enumerate()
            .filter_map(|(place, shown)| match shown {
                Shown::Node { node, .. } => Some((node.name.as_str(), place)),
                Shown::Rest { .. } => None,
            })
            .collect();
        for edge in &graph.edges {
            let (Some(from), Some(to)) = (places.get(edge.from.as_str()), places.get(edge.to.as_str()))
            else {
                continue;
            };
            let level = |name: &str| levels.get(name).copied().unwrap_or(0);
            let (from_level, to_level) = (level(&edge.from), level(&edge.to));
            let at_subject = from_level == 0 || to_level == 0 || graph.edges.len() <= FEW_EDGES;
            let is_outside = |place: usize| match &self.shown[place] {
                Shown::Node { node, .. } => !matches!(node.member, Member::Spec { .. }),
                Shown::Rest { .. } => false,
            };
            if from_level.signum() * to_level.signum() < 0 || (is_outside(*to) && from_level != 0) {
                self.passing += 1;
                continue;
            }
            if only_shortest && from_level + 1 != to_level {
                self.within_levels += 1;
                continue;
            }
            self.lines.push(Line { ends: (*from, *to), edge: Some(edge), at_subject });
        }
    }

    /// Adds a node for what is not drawn of a level.
    fn add_rest(&mut self, level: i64, hidden: Vec<&'g SubNode>) {
        self.shown.push(Shown::Rest { level, hidden });
        self.tie(self.shown.len() - 1, level);
    }

    /// Ties nodes whose way to the subject leads through what is not drawn.
    fn tie_loose_nodes(&mut self) {
        let tied: BTreeSet<usize> = self.lines.iter().flat_map(|line| [line.ends.0, line.ends.1]).collect();
        for place in 0..self.shown.len() {
            if let Shown::Node { node: SubNode { level, .. }, .. } = self.shown[place]
                && *level != 0
                && !tied.contains(&place)
            {
                self.tie(place, *level);
            }
        }
    }

    /// Ties something of a level to the rest of the next nearer level, which comes last of it, or else to one of
    /// its nodes.
    fn tie(&mut self, place: usize, level: i64) {
        let inner = level - level.signum();
        let of_inner = |shown: &Shown<'_>| match shown {
            Shown::Node { node, .. } => node.level == inner,
            Shown::Rest { level, .. } => *level == inner,
        };
        if let Some(anchor) = self.shown.iter().rposition(of_inner) {
            let ends = if level < 0 { (place, anchor) } else { (anchor, place) };
            self.lines.push(Line { ends, edge: None, at_subject: false });
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.passing > 0 {
            let edges = if self.passing == 1 { "1 edge" } else { &format!("{} edges", self.passing) };
            notes.push(format!("Not drawn: {edges} between others that do not lead through the subject."));
        }
        if self.within_levels > 0 {
            let count = self.within_levels;
            notes
                .push(format!("Not drawn: {count} edges among specs that are equally far from the subject."));
        }
        if self.outside_left_out {
            notes.push(
                "Not drawn: what others than the subject take from outside the tree or miss.".to_owned(),
            );
        }
        notes
    }

    /// Returns a colour and a text for each kind of node, and a dash pattern for each kind of line.
    fn legend(&self) -> Vec<(Sign, &'static str)> {
        let mut legend: BTreeMap<usize, (Sign, &'static str)> = BTreeMap::new();
        for shown in &self.shown {
            let Shown::Node { node, .. } = shown else { continue };
            let (place, text) = match node.colour() {
                "forestgreen" => (1, "built"),
                "darkorange" => (2, "failed"),
                "darkorchid" => (3, "from outside the tree"),
                "greenyellow" => (4, "an older build"),
                "crimson" => (5, "nothing provides it"),
                _ => (0, "to be built"),
            };
            legend.insert(place, (Sign::Fill(node.colour()), text));
        }
        for edge in self.lines.iter().filter_map(|line| line.edge) {
            let (place, dashes, text) = if edge.is_for_builds() {
                (6, "", "BuildRequires")
            } else {
                (7, " stroke-dasharray=\"5 3\"", "Requires")
            };
            legend.insert(place, (Sign::Dashes(dashes), text));
        }
        legend.into_values().collect()
    }
}

#[derive(Clone, Copy)]
enum Sign {
    Fill(&'static str),
    Dashes(&'static str),
}

fn draw_legend(legend: &[(Sign, &str)], y: f64, svg: &mut String) {
    let mut x = MARGIN;
    for (sign, text) in legend {
        let _ = match sign {
            Sign::Fill(colour) => write!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"22\" height=\"12\" rx=\"3\" fill=\"{colour}\" stroke=\"#555\"/>",
                y - 10.0
            ),
            Sign::Dashes(dashes) => write!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{0:.1}\" x2=\"{1:.1}\" y2=\"{0:.1}\" stroke=\"#444\" stroke-width=\"1.4\"{dashes}/>",
                y - 4.0,
                x + 22.0
            ),
        };
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{y:.1}\">{}</text>", x + 28.0, xml(text));
        x += text_width(text) + 52.0;
    }
}

impl Shown<'_> {
    fn label(&self) -> String {
        match self {
            Self::Node { node, .. } => shortened(&node.member.label()),
            Self::Rest { hidden, .. } => format!("… and {} more", hidden.len()),
        }
    }

    fn draw(&self, x: f64, middle: f64, width: f64, svg: &mut String) {
        let (fill, stroke, stroke_width, letters, tooltip) = match self {
            Self::Node { node, is_subject } => {
                let (stroke, stroke_width) = if *is_subject { ("deeppink", 3.0) } else { ("#555", 0.8) };
                let letters = if node.is_dark() { "#fff" } else { "#111" };
                (node.colour(), stroke, stroke_width, letters, node.description())
            }
            Self::Rest { hidden, .. } => {
                let names: Vec<String> =
                    hidden.iter().take(NAMES_IN_TOOLTIP).map(|node| node.member.label()).collect();
                let dots = if hidden.len() > NAMES_IN_TOOLTIP { ", …" } else { "" };
                ("#fff", "#999", 0.8, "#444", format!("{}{dots}", names.join(", ")))
            }
        };
        let top = middle - SPACING.node_height / 2.0;
        let baseline = middle + LETTERS * 0.36;
        let _ = writeln!(
            svg,
            "<g class=\"n\"><title>{}</title><rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.0}\" \
             height=\"{}\" rx=\"4\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"{stroke_width}\"/>\
             <text x=\"{:.1}\" y=\"{baseline:.1}\" text-anchor=\"middle\" fill=\"{letters}\">{}</text></g>",
            xml(&tooltip),
            SPACING.node_height,
            x + width / 2.0,
            xml(&self.label()),
        );
    }
}

/// Arrows, letters, and what changes under the pointer.
const STYLE: &str = "<defs>\
    <marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7.5\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
    markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 1L8 4L0 7Z\" fill=\"#999\"/></marker>\
    <marker id=\"own-arrow\" viewBox=\"0 0 8 8\" refX=\"7.5\" refY=\"4\" markerWidth=\"9\" markerHeight=\"9\" \
    markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 1L8 4L0 7Z\" fill=\"#444\"/></marker></defs>\n\
    <style>.e:hover{stroke:#d6006c;stroke-width:3}.n:hover rect{stroke:#d6006c;stroke-width:3}</style>\n";

/// Returns the path of a line, which is level at every point.
fn curve(route: &[(f64, f64)]) -> String {
    let mut path = String::new();
    let mut before = None;
    for (x, y) in route {
        let _ = match before {
            None => write!(path, "M{x:.1} {y:.1}"),
            Some((from_x, from_y)) => {
                let middle = (from_x + x) / 2.0;
                write!(path, "C{middle:.1} {from_y:.1} {middle:.1} {y:.1} {x:.1} {y:.1}")
            }
        };
        before = Some((x, y));
    }
    path
}

fn shortened(label: &str) -> String {
    if label.chars().count() <= LABEL_LENGTH {
        return label.to_owned();
    }
    let start: String = label.chars().take(LABEL_LENGTH - 1).collect();
    format!("{start}…")
}

/// Returns about how wide a text is, rather too wide: by the widths of DejaVu Sans, the widest of the fonts.
fn text_width(text: &str) -> f64 {
    let em = |letter: char| match letter {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' | 'I' => 0.34,
        'f' | 't' | 'r' | '(' | ')' | '-' | '/' | '[' | ']' => 0.42,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' => 1.0,
        '<' | '>' | '=' | '+' | '~' | '^' => 0.85,
        _ if letter.is_ascii_uppercase() => 0.76,
        _ if letter.is_ascii() => 0.65,
        _ => 1.1,
    };
    text.chars().map(em).sum::<f64>() * LETTERS
}

/// Returns text for XML; what XML cannot hold is replaced.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            _ if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            _ => escaped.push(letter),
        }
    }
    escaped
}
