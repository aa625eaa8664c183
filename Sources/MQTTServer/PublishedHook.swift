import MQTTCore
import MQTTPackets
import Synchronization

/// Calls the hook `published` for what the core hands out, and tells the core what it said.
struct PublishedHook: Sendable {
    /// Clients whose messages it is called for side by side.
    private static let callsMax = 64

    private let core: SharedCore
    private let runner: HookRunner
    private let published: @Sendable (ClientInfo, Message) async throws -> PublishedDecision
    private let state: State
    private let signals: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    /// Says that there are messages to call it for. Cheap, and harmless when there are none.
    let signal: @Sendable () -> Void

    private final class State: Sendable {
        /// Calls that have not come back.
        let calls = Atomic<Int>(0)
        /// Whether there will be no more messages.
        let isEnding = Atomic<Bool>(false)
    }

    /// Nil where there is no such hook.
    init?(_ runner: HookRunner, core: SharedCore) {
        guard let published = runner.hooks.published else { return nil }
        self.published = published
        self.core = core
        self.runner = runner
        state = State()
        let (signals, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.signals = signals
        self.continuation = continuation
        signal = { continuation.yield() }
    }

    /// Until `finish()` and nothing is left, or until its task is cancelled.
    func run(wake: @escaping @Sendable ([Int]) -> Void) async {
        await withDiscardingTaskGroup { tasks in
            for await _ in signals {
                let free = Self.callsMax - state.calls.load(ordering: .acquiring)
                let requests = core.withLock { core, _ in core.takePublished(free) }
                state.calls.add(requests.count, ordering: .acquiringAndReleasing)
                for request in requests {
                    tasks.addTask {
                        await call(request, wake)
                        state.calls.subtract(1, ordering: .acquiringAndReleasing)
                        signal()
                    }
                }
                let isEnding = state.isEnding.load(ordering: .acquiring)
                if isEnding, !core.withLock({ core, _ in core.hasUnpublished() }) { return }
            }
        }
    }

    private func call(_ request: PublishedRequest, _ wake: @Sendable ([Int]) -> Void) async {
        let (client, message) = (request.client, request.message)
        var refusal: ReasonCode?
        switch await runner.call("published", for: client, { try await published(client, message) }) {
        case .value(.acknowledge): break
        case .value(.refuse(let reason)):
            refusal = HookRunner.reason(reason, in: .puback)
            // Nothing else tells of it.
            if client.version < .v5 { runner.log("published", client, "it refuses a message: \(reason)") }
        case .failed, .timedOut: refusal = .implementationSpecificError
        }
        let loops = core.withLock { [refusal] core, now in
            core.publishedAnswered(request, refusal, at: now)
            return core.loopsToWake(besides: -1)
        }
        wake(loops)
    }

    /// There will be no more messages: what there is goes to the hook, and `run` returns.
    func finish() {
        state.isEnding.store(true, ordering: .releasing)
        signal()
    }
}
