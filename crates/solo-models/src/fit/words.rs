//! Plans in words.

use std::fmt::{Display, Formatter, Result};

use super::{Outcome, Placement, Plan};

/// Bytes for people: "7.9 GB".
struct Size(u64);

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.0 {
            bytes if bytes < 1_000_000_000 => write!(f, "{:.0} MB", bytes as f64 / 1e6),
            bytes => write!(f, "{:.1} GB", bytes as f64 / 1e9),
        }
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.outcome {
            Outcome::Whole(placement) if placement.gpus.is_empty() => {
                write!(f, "fits whole: {} of RAM", Size(placement.ram))
            }
            Outcome::Whole(placement) => {
                write!(f, "fits whole on the {}: ", gpus(placement))?;
                shares(f, placement)
            }
            Outcome::Partly(placement) if placement.gpu_layers() == 0 => {
                let (gpus, ram) = (gpus(placement), Size(placement.ram));
                write!(f, "fits in RAM only ({ram}): the {gpus} cannot hold a single layer")
            }
            Outcome::Partly(placement) => {
                let (on, all) = (placement.gpu_layers(), placement.layers);
                write!(f, "fits with {on} of {all} layers on the {}: ", gpus(placement))?;
                shares(f, placement)
            }
            Outcome::DoesNotFit(shortage) => {
                let (needs, has) = (Size(shortage.needs), Size(shortage.has));
                write!(f, "does not fit: needs {needs} of RAM, has {has}; ")?;
                match shortage.largest_context {
                    Some(context) => write!(f, "the largest context that would fit is {context} tokens"),
                    None => f.write_str("choose a smaller quantisation or a smaller model"),
                }
            }
        }
    }
}

fn gpus(placement: &Placement) -> &'static str {
    if placement.gpus.len() == 1 { "GPU" } else { "GPUs" }
}

/// "GPU 0 4.1 GB (20 layers), GPU 1 4.0 GB (19 layers), RAM 1.2 GB".
fn shares(f: &mut Formatter<'_>, placement: &Placement) -> Result {
    for (index, share) in placement.gpus.iter().enumerate() {
        if share.layers > 0 {
            write!(f, "GPU {index} {} ({} layers), ", Size(share.bytes), share.layers)?;
        }
    }
    write!(f, "RAM {}", Size(placement.ram))
}
