import DimArchitecture
import DimOperators
import DimRuntime

/// How the networks of an architecture are computed: made once from the architecture, never changed, used by any number of
/// calls at once. `Architecture.makePlan` chooses between the two kinds:
///
/// - `LayerPlan` computes any architecture, layer by layer;
/// - `FusedPlan` computes one, the notebook's, by passes that keep whole networks in the caches.
package protocol NetworkPlan: AnyObject, Sendable {
    /// Layer by layer: every output, every score, every objective.
    var layers: LayerPlan { get }

    /// Whether a network computes something else in training mode: batch statistics, dropout.
    func dependsOnMode(_ network: Network) -> Bool

    /// images (n,c,h,w) -> the requested outputs.
    func encode(
        _ state: NetworkState, _ images: UnsafePointer<Float>, count n: Int, _ outputs: EncodedOutputs,
        _ call: inout ForwardCall) throws

    /// Scores of each vector and its own map: encoded (n, encoded), maps (n,c,h,w) -> logits (n, locations).
    func score(
        _ state: NetworkState, encoded: UnsafePointer<Float>, maps: UnsafePointer<Float>, count n: Int,
        logits: UnsafeMutablePointer<Float>, _ call: inout ForwardCall) throws

    /// Scores of all pairs: logits (n, n, locations), [i][j] image i's locations against vector j.
    func scorePairs(
        _ state: NetworkState, encoded: UnsafePointer<Float>, maps: UnsafePointer<Float>, count n: Int,
        logits: UnsafeMutablePointer<Float>, _ call: inout ForwardCall) throws

    /// encoded (n, encoded) -> probabilities (n).
    func scorePrior(
        _ state: NetworkState, encoded: UnsafePointer<Float>, count n: Int,
        probabilities: UnsafeMutablePointer<Float>, _ call: inout ForwardCall) throws

    /// encoded (n, encoded) -> the classifier's logits (n, classes).
    func classify(
        _ state: NetworkState, encoded: UnsafePointer<Float>, count n: Int, logits: UnsafeMutablePointer<Float>,
        _ call: inout ForwardCall) throws
}

extension Architecture {
    /// The one place that chooses a plan.
    func makePlan() -> any NetworkPlan { FusedPlan.computes(self) ? FusedPlan(self) : LayerPlan(self) }
}

/// One call of a plan: its memory, its mode, and in training mode what it changes.
package struct ForwardCall {
    package let arena: Arena
    package let isTraining: Bool
    /// What dropout draws from.
    package var random: MersenneTwister
    /// The running statistics after a batch in training mode, as replacements of the state's values.
    package var moved: [(index: Int, value: ParameterValue)] = []

    package init(_ arena: Arena, isTraining: Bool = false, random: MersenneTwister = MersenneTwister(seed: 0)) {
        self.arena = arena
        self.isTraining = isTraining
        self.random = random
    }
}

/// Where `encode` writes; what is nil is not wanted.
package struct EncodedOutputs {
    package var encoded: UnsafeMutablePointer<Float>?
    package var features: UnsafeMutablePointer<Float>?
    package var conv: UnsafeMutablePointer<Float>?
    package var fc: UnsafeMutablePointer<Float>?

    package init(
        encoded: UnsafeMutablePointer<Float>? = nil, features: UnsafeMutablePointer<Float>? = nil,
        conv: UnsafeMutablePointer<Float>? = nil, fc: UnsafeMutablePointer<Float>? = nil
    ) {
        self.encoded = encoded
        self.features = features
        self.conv = conv
        self.fc = fc
    }
}
