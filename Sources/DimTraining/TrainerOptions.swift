import DimArchitecture
import DimOperators

/// The images that a vector is compared with.
package enum Negatives: Equatable {
    /// All other images of the batch.
    case all
    /// The next image of the batch: the linked implementation's.
    case rotation
    /// So many others, drawn anew each step.
    case drawn(Int)
}

/// What the encoder minimises of the prior term.
package enum PriorTerm {
    /// There is no prior term.
    case none
    /// The term itself, as the discriminator.
    case monolithic
    /// -mean log D(y).
    case adversarial
}

package struct TrainerOptions: Equatable {
    package var measure = Measure.gan
    package var negatives = Negatives.rotation
    package var prior = PriorTerm.monolithic
    /// The weight of the prior discriminator's gradient penalty; the adversarial prior alone.
    package var gradientPenalty = 0.0
    package var seed: UInt64 = 0
    package var alpha = 0.5
    package var beta = 1.0
    package var gamma = 0.1
    package var encoderLearningRate = 1e-4
    /// Its learning rate is the discriminators'.
    package var adam = AdamOptions()

    /// Parts of a step's images that have statistics, negatives and noise of their own; their gradients are averaged.
    package var microBatches = 1
    package static let mostMicroBatches = 4096

    /// All gradients of a step are scaled down to this Euclidean norm; 0 for no bound.
    package var gradientClip = 0.0

    /// The term of the coordinates, and its weight.
    package var coordinates = Coordinates.none
    package var coordinatesWeight = 1.0
    /// Vectors come from images of which a box is hidden, maps from whole ones.
    package var occlusion = false
    /// How many locations of each image the local term uses, drawn anew each step; 0 for all.
    package var locations = 0

    /// Of the score networks' products.
    package var precision = Precision.float32

    package init() {}

    /// The settings of the preset that the architecture comes from.
    package init(for architecture: Architecture) {
        let preset = architecture.trainingPreset
        measure = Measure(name: preset.measure) ?? .nce
        negatives = preset.negatives == "all" ? .all : Int(preset.negatives).map(Negatives.drawn) ?? .rotation
        prior = preset.prior == "none" ? .none : preset.prior == "adversarial" ? .adversarial : .monolithic
        (alpha, beta, gamma) = (preset.alpha, preset.beta, preset.gamma)
        encoderLearningRate = preset.learningRate
        adam.learningRate = preset.learningRate
        (adam.beta1, adam.beta2) = (preset.beta1, preset.beta2)
        // A term without its network has no weight.
        if architecture.global == nil { alpha = 0 }
        if architecture.local == nil { beta = 0 }
        if architecture.prior == nil { (gamma, prior) = (0, .none) }
    }
}
