//! How far a run is: a bar with rate, time left and losses on a terminal, a log line every few seconds elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Pause between log lines when there is no terminal.
const LOG_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Progress {
    bar: Option<ProgressBar>,
    first_step: u64,
    total_steps: u64,
    started: Instant,
    /// When the last line was printed, and for which step.
    logged: Option<(Instant, u64)>,
    /// The last value of each metric, in order of first appearance.
    values: Vec<(String, f64)>,
}

impl Progress {
    pub fn new(first_step: u64, total_steps: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{bar:30} {pos}/{len} steps  {msg}";
            let style = ProgressStyle::with_template(template).expect("the template is fixed");
            ProgressBar::new(total_steps).with_style(style).with_position(first_step)
        });
        Progress { bar, first_step, total_steps, started: Instant::now(), logged: None, values: Vec::new() }
    }

    pub fn update(&mut self, step: u64, values: &[(&str, f64)]) {
        for &(name, value) in values {
            match self.values.iter_mut().find(|(known, _)| known == name) {
                Some(known) => known.1 = value,
                None => self.values.push((name.to_string(), value)),
            }
        }
        let message = self.message(step);
        if let Some(bar) = &self.bar {
            bar.set_position(step);
            bar.set_message(message);
        } else if self.logged.is_none_or(|(at, s)| at.elapsed() >= LOG_PAUSE || step >= self.total_steps && s < step) {
            self.logged = Some((Instant::now(), step));
            tracing::info!("step {step}/{}  {message}", self.total_steps);
        }
    }

    pub fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }

    fn message(&self, step: u64) -> String {
        let done = step.saturating_sub(self.first_step);
        let rate = done as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        let left = self.total_steps.saturating_sub(step);
        let eta =
            if done == 0 || left == 0 { String::new() } else { format!("  left {}", duration(left as f64 / rate)) };
        let values: Vec<String> = self.values.iter().take(6).map(|(name, v)| format!("{name} {v:.4}")).collect();
        format!("{rate:.2} steps/s{eta}  {}", values.join("  "))
    }
}

/// `1 h 02 min`, `3 min 07 s` or `12 s`.
fn duration(seconds: f64) -> String {
    let s = seconds.clamp(0.0, 1e9) as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, min, s) => format!("{min} min {s:02} s"),
        (h, min, _) => format!("{h} h {min:02} min"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_read_naturally() {
        let shown = [12.4, 187.0, 3725.0, f64::INFINITY].map(super::duration);
        assert_eq!(shown, ["12 s", "3 min 07 s", "1 h 02 min", "277777 h 46 min"]);
    }
}
