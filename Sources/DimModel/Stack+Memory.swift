import DimArchitecture
import DimOperators

extension Stack {
    /// Whose memory each output of evaluation mode takes: nothing is read twice there, so that a layer writes where an
    /// earlier one's output has been read for the last time. Found once, by going through the layers as `StackPass` does.
    struct EvaluationMemory {
        /// From a node's own slot to the one that it takes.
        private(set) var slots: [BufferSlot: BufferSlot] = [:]
        /// Floats an image of all of them.
        var floats: Int { capacities.values.reduce(0, +) }

        private var capacities: [BufferSlot: Int] = [:]
        private var free: [BufferSlot] = []
        /// Of nodes whose outputs are read after the pass.
        private let kept: Set<Int>
        private var keptSlots: Set<BufferSlot> = []

        /// `keeping`: positions among `nodes`. The last one is kept in any case.
        init(_ nodes: [Node], keeping: [Int]) {
            kept = Set(keeping.map { nodes[$0].index })
            _ = run(nodes, nil)
        }

        // Values are the slots that they lie in; nil is the stack's input.

        private mutating func run(_ nodes: [Node], _ input: BufferSlot?) -> BufferSlot? {
            var x = input
            for node in nodes {
                let y = run(node, x)
                if kept.contains(node.index), let y { keptSlots.insert(y) }
                release(x, unless: input, y)
                x = y
            }
            return x
        }

        private mutating func run(_ node: Node, _ x: BufferSlot?) -> BufferSlot? {
            if node.isOneProduct(false) { return take(node, .output) }
            let z = operate(node, x)
            let y = normalised(node, z)
            release(z, unless: x, y)
            return y
        }

        private mutating func operate(_ node: Node, _ x: BufferSlot?) -> BufferSlot? {
            switch node.operation {
            case .convolution, .pooling, .flatten:
                return take(node, .beforeNorm)
            case .dropout:
                return x
            case .residual(let children, let shortcut):
                let before = run(Array(children.dropLast()), x)
                let other = shortcut.map { run($0, x) } ?? x
                let inner = run(children[children.count - 1], before)
                release(before, unless: x, inner, other)
                let sum = children.last?.outputIsFree ?? false ? inner : take(node, .beforeNorm)
                release(inner, unless: x, sum)
                release(other, unless: x, sum)
                return sum
            }
        }

        private mutating func normalised(_ node: Node, _ z: BufferSlot?) -> BufferSlot? {
            guard case .none = node.norm else { return take(node, .output) }
            if case .dropout = node.operation, node.activation != nil { return take(node, .output) }
            return z
        }

        /// The free memory that fits best: the least that is large enough, else the largest, which grows.
        private mutating func take(_ node: Node, _ slot: Slot) -> BufferSlot {
            let count = Activation.count(node.output, images: 1)
            let fits = free.filter { capacities[$0]! >= count }.min { capacities[$0]! < capacities[$1]! }
            let found = fits ?? free.max { capacities[$0]! < capacities[$1]! } ?? node.slots[slot]
            free.removeAll { $0 == found }
            capacities[found] = max(capacities[found] ?? 0, count)
            slots[node.slots[slot]] = found
            return found
        }

        private mutating func release(_ x: BufferSlot?, unless readers: BufferSlot?...) {
            guard let x, !readers.contains(x), !keptSlots.contains(x), !free.contains(x) else { return }
            free.append(x)
        }
    }
}
