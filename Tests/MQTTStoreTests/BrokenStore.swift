import MQTTPackets
import MQTTStore
import MQTTStoreTesting
import NIOCore
import Synchronization

/// A way in which a store can be wrong.
enum Fault: String, CaseIterable {
    case pagesInOrderOfArrival, pagesBackwards, ignoresCount, ignoresBytes, ignoresNumber, endsPagesEarly
    case readsFirstPageOnly, swapsPages
    case keepsMessagesOfEndedSessions, takesLateChanges, takesLateMessages
    case appliesBatchesBackwards, losesHalfOfLargeBatches, losesLastBatch, losesFirstBatch, losesBatchesAfterReopening
    case forgetsEverything, queuesAgainWhatIsRepeated
    case takesNamesForEqual, cutsIncarnations, countsMessagesThatAreOver, losesLargePayloads, sharesDeliveries
    case numbersFromWhatIsThere, keepsWills, losesPublishers, losesExpiry
}

/// What a store keeps between two openings.
final class KeptContents: Sendable {
    struct State {
        var contents = StoreContents()
        var atOpening = StoreContents()
        var beforeLastBatch = StoreContents()
        var opens = 0
        var batches = 0
        /// Session → numbers in the order in which they were queued.
        var arrivals: [UInt64: [UInt64]] = [:]
        /// Messages of sessions that are not there.
        var stray: [UInt64: [StoredMessage]] = [:]
    }

    let state = Mutex(State())
}

/// A store in memory that is right but for one fault, or for changes of one kind that it loses.
struct BrokenStore: MessageStore {
    let kept: KeptContents
    var fault: Fault?
    var lost: ChangeKind?

    var isDurable: Bool { true }

    func open() async throws -> StoredState {
        kept.state.withLock { state in
            state.opens += 1
            if state.opens > 1 {
                switch fault {
                case .losesLastBatch: state.contents = state.beforeLastBatch
                case .forgetsEverything: state.contents = StoreContents()
                case .losesBatchesAfterReopening where state.opens > 2: state.contents = state.atOpening
                default: break
                }
            }
            state.atOpening = state.contents
            return opened(state)
        }
    }

    private func opened(_ state: KeptContents.State) -> StoredState {
        var stored = state.contents.state
        for index in stored.sessions.indices {
            let incarnation = stored.sessions[index].incarnation
            switch fault {
            case .countsMessagesThatAreOver:
                stored.sessions[index].queuedMessages = state.arrivals[incarnation]?.count ?? 0
            case .numbersFromWhatIsThere:
                stored.sessions[index].nextNumber =
                    state.contents.messages(of: incarnation).last.map { $0.number + 1 } ?? 0
            default: break
            }
        }
        return stored
    }

    func commit(_ changes: [StoreChange]) async throws {
        kept.state.withLock { state in
            state.beforeLastBatch = state.contents
            state.batches += 1
            if fault == .losesFirstBatch && state.batches == 1 { return }
            var changes = changes
            if fault == .appliesBatchesBackwards { changes.reverse() }
            if fault == .losesHalfOfLargeBatches && changes.count > 100 { changes.removeLast(changes.count / 2) }
            var last: StoredMessage?
            for change in changes where ChangeKind(change) != lost {
                if case .queued(var queued, let incarnation) = change {
                    if fault == .sharesDeliveries, let last, last.message === queued.message {
                        let number = queued.number
                        queued = last
                        queued.number = number
                    }
                    last = queued
                    queue(queued, incarnation, &state)
                } else {
                    apply(change, &state)
                }
            }
        }
    }

    private func queue(_ message: StoredMessage, _ incarnation: UInt64, _ state: inout KeptContents.State) {
        var message = message
        let number = message.number
        let isThere = state.contents.messages(of: incarnation, from: number).first?.number == number
        if fault == .queuesAgainWhatIsRepeated && isThere { message.number = 1 << 50 }
        if fault == .losesLargePayloads && message.message?.payload.readableBytes ?? 0 > 65_535 {
            message.message = nil
        }
        if let original = message.message {
            if fault == .losesPublishers { message.message = original.copied(publisher: nil) }
            if fault == .losesExpiry { message.message = original.copied(publisher: original.publisher) }
        }
        if state.contents.sessions[incarnation] == nil && fault == .takesLateMessages {
            state.stray[incarnation, default: []].append(message)
        }
        if !isThere { state.arrivals[incarnation, default: []].append(number) }
        apply(.queued(message, incarnation: incarnation), &state)
    }

    private func apply(_ change: StoreChange, _ state: inout KeptContents.State) {
        switch (fault, change) {
        case (.keepsWills, .will(nil, _)): return
        case (.keepsMessagesOfEndedSessions, .sessionEnded(let incarnation)):
            state.stray[incarnation] = state.contents.messages(of: incarnation)
        case (.takesNamesForEqual, .retained(let new)):
            for other in state.contents.retained.values where other.message.topic == new.message.topic {
                state.contents.apply(.retainedCleared(topic: other.message.topic))
            }
        case (.takesLateChanges, .subscribed(_, let incarnation)), (.takesLateChanges, .will(_, let incarnation)):
            state.contents.apply(.sessionBegan(incarnation: incarnation, clientID: "?", expiryInterval: 0))
        case (.cutsIncarnations, .sessionBegan(let incarnation, let clientID, let expiry)):
            let cut = UInt64(UInt32(truncatingIfNeeded: incarnation))
            return state.contents.apply(.sessionBegan(incarnation: cut, clientID: clientID, expiryInterval: expiry))
        default: break
        }
        state.contents.apply(change)
    }

    func messages(_ pages: [StoredPage]) async throws -> [[StoredMessage]] {
        let pages = fault == .readsFirstPageOnly ? Array(pages.prefix(1)) : pages
        let read = kept.state.withLock { state in pages.map { messages($0, state) } }
        return fault == .swapsPages ? read.reversed() : read
    }

    private func messages(_ wanted: StoredPage, _ state: KeptContents.State) -> [StoredMessage] {
        let incarnation = wanted.incarnation
        var all = state.contents.messages(of: incarnation, from: fault == .ignoresNumber ? 0 : wanted.number)
        all += state.stray[incarnation] ?? []
        switch fault {
        case .pagesInOrderOfArrival:
            let order = state.arrivals[incarnation] ?? []
            all.sort { order.firstIndex(of: $0.number) ?? 0 < order.firstIndex(of: $1.number) ?? 0 }
        case .pagesBackwards: all.reverse()
        case .endsPagesEarly where all.count > 1: all.removeLast()
        default: break
        }
        var page: [StoredMessage] = []
        var left = wanted.bytes
        for message in all where fault == .ignoresBytes || left > 0 {
            guard page.count < wanted.count || fault == .ignoresCount else { break }
            page.append(message)
            left -= message.message?.encodedBytes ?? 0
        }
        return page
    }
}

extension Message {
    /// Without an expiry.
    fileprivate func copied(publisher: String?) -> Message {
        let publish = Publish(topic: topic, payload: payload, qos: qos, isRetained: isRetained, properties: properties)
        return Message(publish, publisher: publisher)
    }

    private var properties: Properties {
        let bytes = bytes
        return (try? Properties(decoding: bytes.span, view.properties, in: .publish)) ?? Properties()
    }
}

/// One for each case of `StoreChange`.
enum ChangeKind: String, CaseIterable {
    case sessionBegan, sessionExpiryChanged, sessionConnected, sessionDisconnected, sessionEnded, will
    case subscribed, unsubscribed, queued, sendMark, received, finished, retired, packetReceived, packetReleased
    case retained, retainedCleared, replay, replayEnded, replayPulled, broker

    init(_ change: StoreChange) {
        self =
            switch change {
            case .sessionBegan: .sessionBegan
            case .sessionExpiryChanged: .sessionExpiryChanged
            case .sessionConnected: .sessionConnected
            case .sessionDisconnected: .sessionDisconnected
            case .sessionEnded: .sessionEnded
            case .will: .will
            case .subscribed: .subscribed
            case .unsubscribed: .unsubscribed
            case .queued: .queued
            case .sendMark: .sendMark
            case .received: .received
            case .finished: .finished
            case .retired: .retired
            case .packetReceived: .packetReceived
            case .packetReleased: .packetReleased
            case .retained: .retained
            case .retainedCleared: .retainedCleared
            case .replay: .replay
            case .replayEnded: .replayEnded
            case .replayPulled: .replayPulled
            case .broker: .broker
            }
    }
}
