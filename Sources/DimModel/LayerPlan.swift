import DimArchitecture
import DimOperators
import DimRuntime

/// The plan of any architecture: each network is a `Stack` of layers, or a `PairHead` over two of them.
package final class LayerPlan: NetworkPlan, @unchecked Sendable {
    /// Memory of a call beside its stacks'.
    package enum Slot: Int, CaseIterable {
        case images, map, vectors, vectorGradient
        case priorRows, priorInput, priorSquashed, priorLogitGradient, priorInputGradient, priorVectorGradient
        case chosenMap, chosenMapGradient, occludedImages
        case classifierLogits, classifierLogitGradient
    }

    package let architecture: Architecture
    package let resolved: ResolvedArchitecture
    package let encoder: Stack
    package let features: Stack.Node
    package let conv: Stack.Node?
    package let fc: Stack.Node?
    package let local: PairHead?
    package let global: PairHead?
    package let coordinates: PairHead?
    package let prior: Stack?
    package let classifier: Stack?
    /// What calls keep beside the stacks.
    package let slots: BufferSlots<Slot>
    /// Behind all of these.
    package let nextSlot: Int
    /// Images in flight in evaluation mode: bounds the memory of a call, whatever n is.
    package let block: Int
    /// Per channel; empty where images are taken as they are.
    package let mean: [Float]
    package let std: [Float]

    package init(_ architecture: Architecture) {
        self.architecture = architecture
        resolved = architecture.resolved
        var slots = SlotCounter()
        func ids(_ network: Network) -> ParameterIDs { ParameterIDs(architecture.parameters(of: network)) }
        encoder = Stack(
            .encoder, resolved.encoder, input: resolved.image, ids(.encoder), &slots,
            keeping: [resolved.featuresIndex, resolved.convIndex, resolved.fcIndex].compactMap { $0 })
        features = encoder.nodes[resolved.featuresIndex]
        conv = resolved.convIndex.map { [encoder] in encoder.nodes[$0] }
        fc = resolved.fcIndex.map { [encoder] in encoder.nodes[$0] }
        let vector = MapShape(channels: resolved.encodedSize)
        local = resolved.local.map { LayerPlan.head(.localD, $0, vector, ids(.localD), &slots) }
        global = resolved.global.map { LayerPlan.head(.globalD, $0, vector, ids(.globalD), &slots) }
        coordinates = resolved.coordinatesHead.map {
            LayerPlan.head(.coordinatesD, $0, vector, ids(.coordinatesD), &slots)
        }
        prior = resolved.prior.map { Stack(.priorD, $0, input: vector, ids(.priorD), &slots) }
        classifier = resolved.classifier.map { Stack(.classifier, $0, input: vector, ids(.classifier), &slots) }
        self.slots = slots.take()
        nextSlot = slots.next
        let image = architecture.image
        mean = image.isNormalised ? (0..<image.channels).map { Float(image.mean(ofChannel: $0)) } : []
        std = image.isNormalised ? (0..<image.channels).map { Float(image.std(ofChannel: $0)) } : []
        let floats = Activation.count(resolved.image, images: 1) + encoder.evaluationMemory.floats
        block = max(1, min(64, LayerPlan.floatsInFlight / floats))
    }

    private static let floatsInFlight = 1 << 25

    package static func head(
        _ network: Network, _ head: ResolvedHead, _ vector: MapShape, _ ids: ParameterIDs, _ slots: inout SlotCounter
    ) -> PairHead {
        let isLocal = network != .globalD
        let grid =
            isLocal ? MapShape(channels: 1, height: head.input.height, width: head.input.width) : MapShape(channels: 1)
        switch head.description.score {
        case .dot:
            let map = Stack(network, head.map, input: head.input, ids, &slots)
            let own = Stack(network, head.vector, input: vector, ids, &slots)
            return PairHead(
                network, map: head.input, vector: vector, grid: grid,
                kind: .dot(map: map, vector: own, scale: Float(head.scale)), &slots)
        case .concat:
            let map = head.map.isEmpty ? nil : Stack(network, head.map, input: head.input, ids, &slots)
            let read = map?.output ?? head.input
            let first = head.joint[0]
            let inputs = read.channels + vector.channels
            let outputs = first.output.channels
            let firstMap = PatchConvolution(
                input: read, outputs: outputs, weightInputs: inputs, firstInput: isLocal ? 0 : vector.channels)
            let firstVector = PatchConvolution(
                input: vector, outputs: outputs, weightInputs: inputs, firstInput: isLocal ? read.channels : 0)
            let rest = Array(head.joint.dropFirst())
            return PairHead(
                network, map: head.input, vector: vector, grid: grid,
                kind: .concat(
                    map: map, firstMap: firstMap, firstVector: firstVector, weight: ids[first.path + ".weight"],
                    bias: ids[first.path + ".bias"],
                    rest: rest.isEmpty
                        ? nil
                        : Stack(
                            network, rest, input: MapShape(channels: outputs, height: grid.height, width: grid.width),
                            ids, &slots)),
                &slots)
        }
    }

    /// The local head over so many locations of each image, with slots of its own.
    package func local(locations: Int) -> PairHead? {
        var slots = SlotCounter(next: nextSlot)
        return resolved.local.map {
            LayerPlan.head(
                .localD, $0.over(locations: locations), MapShape(channels: resolved.encodedSize),
                ParameterIDs(architecture.parameters(of: .localD)), &slots)
        }
    }

    package var layers: LayerPlan { self }

    package func dependsOnMode(_ network: Network) -> Bool {
        let stacks: [Stack?] =
            switch network {
            case .encoder: [encoder]
            case .localD: local?.stacks ?? []
            case .globalD: global?.stacks ?? []
            case .coordinatesD: coordinates?.stacks ?? []
            case .priorD: [prior]
            case .classifier: [classifier]
            }
        return stacks.contains { $0?.dependsOnMode ?? false }
    }
}
