/// One layer of a description: an operator, then a norm, then an activation. Properties that the operator does not have
/// are at their defaults, so that equal layers compare equal.
package struct Layer: Equatable, Sendable {
    package enum Operation: String, CaseIterable, Sendable {
        case conv, linear, maxpool, avgpool, flatten, residual, dropout
    }

    package enum Norm: String, CaseIterable, Sendable {
        case batch
        /// LayerNorm over the channels, at each location.
        case layer
    }

    package enum Activation: String, CaseIterable, Sendable {
        case relu, sigmoid
    }

    /// Of rows and of columns.
    package struct Pair: Equatable, Hashable, Sendable {
        package var rows: Int
        package var columns: Int

        package init(_ rows: Int, _ columns: Int) {
            self.rows = rows
            self.columns = columns
        }

        package init(_ both: Int) { self.init(both, both) }
    }

    package var op: Operation
    package var name: String?
    /// Conv, linear: channels or units of the output.
    package var out = 0
    /// Conv, pools.
    package var kernel = Pair(1)
    package var stride = Pair(1)
    package var padding = Pair(0)
    /// Conv, linear.
    package var bias = true
    package var norm: Norm?
    /// Set wherever there is a norm.
    package var normName: String?
    package var activation: Activation?
    /// Dropout: the probability that an element becomes 0.
    package var probability = 0.0
    /// Residual: what is added to the shortcut.
    package var layers: [Layer] = []
    /// Residual: nil for the identity, else a convolution.
    package var shortcut: Layer? {
        get { shortcuts.first }
        set { shortcuts = newValue.map { [$0] } ?? [] }
    }
    /// An array since a struct cannot hold itself.
    private var shortcuts: [Layer] = []

    /// The keys of a description, in the canonical text's order.
    enum Key: String {
        case op, name, out, kernel, stride, padding, bias, dropout, layers, shortcut, norm
        case normName = "norm_name"
        case activation
    }

    static func keys(_ op: Operation) -> [Key] {
        let own: [Key] =
            switch op {
            case .conv: [.out, .kernel, .stride, .padding, .bias]
            case .linear: [.out, .bias]
            case .maxpool, .avgpool: [.kernel, .stride, .padding]
            case .flatten: []
            case .residual: [.layers, .shortcut]
            case .dropout: [.dropout]
            }
        return [.op, .name] + own + [.norm, .normName, .activation]
    }

    package init(_ op: Operation, _ name: String? = nil) {
        self.op = op
        self.name = name
    }

    package static func conv(
        _ name: String, _ out: Int, kernel: Int, stride: Int = 1, padding: Int = 0, bias: Bool = true,
        norm: Norm? = nil, normName: String? = nil, activation: Activation? = nil
    ) -> Layer {
        var layer = Layer(.conv, name)
        layer.out = out
        layer.kernel = Pair(kernel)
        layer.stride = Pair(stride)
        layer.padding = Pair(padding)
        layer.bias = bias
        layer.setNorm(norm, normName)
        layer.activation = activation
        return layer
    }

    package static func linear(
        _ name: String, _ out: Int, bias: Bool = true, norm: Norm? = nil, normName: String? = nil,
        activation: Activation? = nil
    ) -> Layer {
        var layer = Layer(.linear, name)
        layer.out = out
        layer.bias = bias
        layer.setNorm(norm, normName)
        layer.activation = activation
        return layer
    }

    package static func pool(
        _ op: Operation, _ name: String? = nil, kernel: Int, stride: Int? = nil, padding: Int = 0
    ) -> Layer {
        var layer = Layer(op, name)
        layer.kernel = Pair(kernel)
        layer.stride = Pair(stride ?? kernel)
        layer.padding = Pair(padding)
        return layer
    }

    package static func residual(
        _ name: String?, _ layers: [Layer], shortcut: Layer? = nil, norm: Norm? = nil, normName: String? = nil,
        activation: Activation? = nil
    ) -> Layer {
        var layer = Layer(.residual, name)
        layer.layers = layers
        layer.shortcut = shortcut
        layer.setNorm(norm, normName)
        layer.activation = activation
        return layer
    }

    package static func dropout(
        _ probability: Double, norm: Norm? = nil, normName: String? = nil, activation: Activation? = nil
    ) -> Layer {
        var layer = Layer(.dropout)
        layer.probability = probability
        layer.setNorm(norm, normName)
        layer.activation = activation
        return layer
    }

    package static let flatten = Layer(.flatten)

    /// The norm and its name: `<layer>_norm` unless `normName` gives another.
    package mutating func setNorm(_ norm: Norm?, _ normName: String? = nil) {
        self.norm = norm
        self.normName = norm == nil ? nil : normName ?? name.map { $0 + "_norm" }
    }

    /// A product with a matrix: has `out` and `bias`.
    package var isProduct: Bool { op == .conv || op == .linear }
    /// The operator itself has parameters, and so a name: theirs begin with it.
    package var hasParameters: Bool { isProduct }
    package var isPool: Bool { op == .maxpool || op == .avgpool }
}
