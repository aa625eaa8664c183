import Logging
import MQTTCore
import MQTTStore

/// Reads what the core wants of long queues from the store, and gives it to the core.
///
/// While some pages are read more sessions ask for theirs: many that drain at once are served together.
struct Pager: Sendable {
    private let core: SharedCore
    private let store: any MessageStore
    private let signals: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    /// Says that pages are wanted. Cheap, and harmless when there are none.
    let signal: @Sendable () -> Void

    init(core: SharedCore, store: any MessageStore) {
        self.core = core
        self.store = store
        let (signals, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.signals = signals
        self.continuation = continuation
        signal = { continuation.yield() }
    }

    /// No more pages are read, and `run` returns.
    func finish() { continuation.finish() }

    /// Until `finish()`, or until its task is cancelled.
    func run(wake: @Sendable ([Int]) -> Void) async {
        for await _ in signals {
            while !Task.isCancelled {
                let requests = core.withLock { core, _ in core.takePageRequests() }
                guard !requests.isEmpty else { break }
                await serve(requests, wake)
            }
        }
    }

    private func serve(_ requests: [PageRequest], _ wake: @Sendable ([Int]) -> Void) async {
        do {
            let pages = try await store.messages(requests.map(\.page))
            // Who is not answered would wait for ever.
            guard pages.count == requests.count else { return await serveOneByOne(requests, wake) }
            for (request, page) in zip(requests, pages) { give(page, request, wake) }
        } catch {
            guard requests.count > 1 else { return cannotRead(requests, error) }
            // One that cannot be read does not keep the others from theirs.
            await serveOneByOne(requests, wake)
        }
    }

    private func serveOneByOne(_ requests: [PageRequest], _ wake: @Sendable ([Int]) -> Void) async {
        for request in requests { await serve(request, wake) }
    }

    private func serve(_ request: PageRequest, _ wake: @Sendable ([Int]) -> Void) async {
        do {
            let pages = try await store.messages([request.page])
            give(pages.first ?? [], request, wake)
        } catch {
            cannotRead([request], error)
        }
    }

    private func cannotRead(_ requests: [PageRequest], _ error: any Error) {
        guard !(error is CancellationError) else { return }
        core.withLock { core, _ in for request in requests { core.unreadable(request, "\(error)") } }
    }

    private func give(_ page: [StoredMessage], _ request: PageRequest, _ wake: @Sendable ([Int]) -> Void) {
        let loops = core.withLock { core, now in
            core.loaded(request, page, at: now)
            return core.loopsToWake(besides: -1)
        }
        wake(loops)
    }
}
