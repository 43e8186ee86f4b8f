import CDim
import DimModel
import DimRuntime

@_cdecl("dim_encode") @implementation
public func dim_encode(
    _ model: OpaquePointer!, _ images: UnsafePointer<Float>!, _ n: Int,
    _ encoded: UnsafeMutablePointer<Float>!, _ features: UnsafeMutablePointer<Float>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        try model.encode(
            try nonNull(images, "images"), count: try imageCount(n),
            EncodedOutputs(encoded: try nonNull(encoded, "encoded"), features: features))
    }
}

@_cdecl("dim_encode_outputs") @implementation
public func dim_encode_outputs(
    _ model: OpaquePointer!, _ images: UnsafePointer<Float>!, _ n: Int, _ outputs: UnsafePointer<dim_outputs>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        let images = try nonNull(images, "images")
        let wanted = try nonNull(outputs, "outputs").pointee
        try checkSize(wanted.struct_size, MemoryLayout<dim_outputs>.size, "dim_outputs")
        guard wanted.encoded != nil || wanted.features != nil || wanted.conv != nil || wanted.fc != nil else {
            throw DimError(.invalidArgument, "every output is NULL; expected one of them to be wanted")
        }
        let sizes = model.sizes
        for (name, pointer, size) in [("conv", wanted.conv, sizes.conv?.size ?? 0), ("fc", wanted.fc, sizes.fc)]
        where pointer != nil && size == 0 {
            throw DimError(
                .invalidArgument,
                "outputs->\(name): expected NULL, since the model's architecture has no \(name), found a buffer")
        }
        try model.encode(
            images, count: try imageCount(n),
            EncodedOutputs(encoded: wanted.encoded, features: wanted.features, conv: wanted.conv, fc: wanted.fc))
    }
}

@_cdecl("dim_score_local_pairs") @implementation
public func dim_score_local_pairs(
    _ model: OpaquePointer!, _ encoded: UnsafePointer<Float>!, _ features: UnsafePointer<Float>!, _ n: Int,
    _ logits: UnsafeMutablePointer<Float>!
) -> dim_status {
    withPairs(model, encoded, features, n, logits, Model.scoreLocalPairs)
}

@_cdecl("dim_score_global") @implementation
public func dim_score_global(
    _ model: OpaquePointer!, _ encoded: UnsafePointer<Float>!, _ features: UnsafePointer<Float>!, _ n: Int,
    _ logits: UnsafeMutablePointer<Float>!
) -> dim_status {
    withPairs(model, encoded, features, n, logits, Model.scoreGlobal)
}

@_cdecl("dim_score_local") @implementation
public func dim_score_local(
    _ model: OpaquePointer!, _ encoded: UnsafePointer<Float>!, _ features: UnsafePointer<Float>!, _ n: Int,
    _ logits: UnsafeMutablePointer<Float>!
) -> dim_status {
    withPairs(model, encoded, features, n, logits, Model.scoreLocal)
}

@_cdecl("dim_score_prior") @implementation
public func dim_score_prior(
    _ model: OpaquePointer!, _ encoded: UnsafePointer<Float>!, _ n: Int, _ probabilities: UnsafeMutablePointer<Float>!
) -> dim_status {
    withEncoded(model, encoded, n, probabilities, Model.scorePrior)
}

@_cdecl("dim_classify") @implementation
public func dim_classify(
    _ model: OpaquePointer!, _ encoded: UnsafePointer<Float>!, _ n: Int, _ probabilities: UnsafeMutablePointer<Float>!
) -> dim_status {
    withEncoded(model, encoded, n, probabilities, Model.classify)
}

private func withPairs(
    _ model: OpaquePointer?, _ encoded: UnsafePointer<Float>?, _ features: UnsafePointer<Float>?, _ n: Int,
    _ logits: UnsafeMutablePointer<Float>?,
    _ score: (Model) -> (UnsafePointer<Float>, UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>) throws -> Void
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        try score(model)(
            nonNull(encoded, "encoded"), nonNull(features, "features"), imageCount(n), nonNull(logits, "logits"))
    }
}

private func withEncoded(
    _ model: OpaquePointer?, _ encoded: UnsafePointer<Float>?, _ n: Int,
    _ probabilities: UnsafeMutablePointer<Float>?,
    _ compute: (Model) -> (UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>) throws -> Void
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        try compute(model)(nonNull(encoded, "encoded"), imageCount(n), nonNull(probabilities, "probabilities"))
    }
}
