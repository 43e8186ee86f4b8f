/// The buffers of a call of the fused passes, all networks of one training step together.
package enum FusedSlot: Int, CaseIterable {
    // What the networks hand to each other.
    case encoded, encodedGradient, features, featuresGradient, noise, logits
    /// Of linear layers with many inputs.
    case linearScratch
    // The encoder's.
    case folded, h0, z1, z2, z3, flat, planes
    // The local discriminator's.
    case localEncoded, localFeatures, localHidden, localSums, localEncodedGradient
    // The global discriminator's.
    case g0, g1, g0Gradient, globalFlat, globalFeaturePart, globalEncodedPart, globalZ0, globalZ1, globalLogits
    case globalZ0Gradient, globalFeaturePartGradient
    // The prior discriminator's.
    case priorInput, priorZ0, priorZ1, priorLogits, priorLogitGradient, priorZ0Gradient, priorInputGradient
}

extension Arena {
    /// Of a call of the fused passes. An arena serves either these or a `LayerPlan` at a time.
    package func floats(_ slot: FusedSlot, _ count: Int) throws -> UnsafeMutablePointer<Float> {
        try floats(Arena.fused[slot], count)
    }

    private static let fused: BufferSlots<FusedSlot> = {
        var slots = SlotCounter()
        return slots.take()
    }()
}
