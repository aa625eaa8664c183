/// A task that waits, by reference. How large a `CheckedContinuation` is the compiler does not know: whatever holds one by
/// value is copied by way of its metadata.
final class WaitingTask<Value: Sendable>: Sendable {
    private let continuation: CheckedContinuation<Value, Never>

    init(_ continuation: CheckedContinuation<Value, Never>) { self.continuation = continuation }

    func resume(returning value: Value) { continuation.resume(returning: value) }
}

extension WaitingTask where Value == Void {
    func resume() { resume(returning: ()) }
}
