import MQTTStore
import MQTTStoreTesting
import Synchronization

/// A store in memory that survives its clients, and commits when it is told to.
final class HeldStore: MessageStore {
    struct Refused: Error {}

    private struct State {
        var contents = StoreContents()
        var holds = false
        var fails = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    init(_ contents: StoreContents = StoreContents()) { state.withLock { $0.contents = contents } }

    var isDurable: Bool { true }
    var contents: StoreContents { state.withLock { $0.contents } }

    func hold() { state.withLock { $0.holds = true } }

    func fail() { state.withLock { $0.fails = true } }

    func release() {
        let waiting = state.withLock { state in
            state.holds = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for waiter in waiting { waiter.resume() }
    }

    func open() async throws -> StoredState { contents.state }

    func messages(_ pages: [StoredPage]) async throws -> [[StoredMessage]] {
        pages.map { page in
            Array(contents.messages(of: page.incarnation, from: page.number).prefix(page.count))
        }
    }

    func commit(_ changes: [StoreChange]) async throws {
        if state.withLock({ $0.fails }) { throw Refused() }
        await withCheckedContinuation { continuation in
            let holds = state.withLock { state in
                if state.holds { state.waiting.append(continuation) }
                return state.holds
            }
            if !holds { continuation.resume() }
        }
        state.withLock { $0.contents.apply(changes) }
    }
}
