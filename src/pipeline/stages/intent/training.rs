//! Multinomial logistic regression, trained by AdaGrad in a fixed order.

use super::features::{self, BUCKETS, Feature};
use super::lexicon::Lexicon;

/// Passes over the examples.
const EPOCHS: usize = 8;
/// AdaGrad's step.
const STEP: f32 = 0.25;
/// Pull of each weight towards zero.
const DECAY: f32 = 1e-4;

/// A weight for each bucket and class, and a bias for each class.
#[derive(Debug, Clone)]
pub(super) struct Model {
    classes: usize,
    weights: Vec<f32>,
    biases: Vec<f32>,
}

impl Model {
    /// The classes' probabilities, the logits divided by a temperature.
    pub(super) fn probabilities(&self, features: &[Feature], temperature: f32) -> Vec<f32> {
        let mut logits = self.logits(features);
        logits.iter_mut().for_each(|logit| *logit /= temperature);
        softmax(&mut logits);
        logits
    }

    fn logits(&self, features: &[Feature]) -> Vec<f32> {
        let mut logits = self.biases.clone();
        for (bucket, strength) in features {
            let row = self.weights.iter().skip(*bucket as usize * self.classes);
            for (logit, weight) in logits.iter_mut().zip(row) {
                *logit += weight * strength;
            }
        }
        logits
    }
}

/// A message whose class is known.
pub(super) struct Example<'a> {
    pub(super) text: &'a str,
    pub(super) class: usize,
}

/// Learns to tell the classes of the examples apart.
pub(super) fn train(examples: &[Example<'_>], classes: usize, lexicon: &Lexicon) -> Model {
    let extracted: Vec<(Vec<Feature>, &Example<'_>)> =
        examples.iter().map(|example| (features::extract(example.text, lexicon), example)).collect();
    let mut model = Model { classes, weights: vec![0.0; BUCKETS * classes], biases: vec![0.0; classes] };
    let mut squares = vec![1e-8; BUCKETS * classes];
    let mut bias_squares = vec![1e-8; classes];
    for epoch in 0..EPOCHS {
        for index in order(extracted.len(), epoch) {
            let Some((features, example)) = extracted.get(index) else { continue };
            let mut errors = model.probabilities(features, 1.0);
            if let Some(error) = errors.get_mut(example.class) {
                *error -= 1.0;
            }
            update(&mut model.biases, &mut bias_squares, &errors, 1.0, 0.0);
            for (bucket, strength) in features {
                let from = *bucket as usize * classes;
                let rows = (model.weights.get_mut(from..from + classes), squares.get_mut(from..from + classes));
                if let (Some(weights), Some(squares)) = rows {
                    update(weights, squares, &errors, *strength, DECAY);
                }
            }
        }
    }
    model
}

fn update(weights: &mut [f32], squares: &mut [f32], errors: &[f32], strength: f32, decay: f32) {
    for ((weight, square), error) in weights.iter_mut().zip(squares).zip(errors) {
        let gradient = error * strength + decay * *weight;
        *square += gradient * gradient;
        *weight -= STEP * gradient / square.sqrt();
    }
}

/// A different order for each epoch, the same at every start: no class comes in one block.
fn order(length: usize, epoch: usize) -> Vec<usize> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(epoch as u64 + 1);
    let mut order: Vec<usize> = (0..length).collect();
    for last in (1..length).rev() {
        // Xorshift64; the slight bias of the remainder does not matter here.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(last, (state % (last as u64 + 1)) as usize);
    }
    order
}

fn softmax(logits: &mut [f32]) {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for logit in logits.iter_mut() {
        *logit = (*logit - highest).exp();
        sum += *logit;
    }
    logits.iter_mut().for_each(|logit| *logit /= sum);
}
