import MQTTPackets
import MQTTRouting
import MQTTSessions

extension BrokerCore {
    /// Retained messages that wait in a session's queue, above which the replay pauses.
    private static var replayQueuedMax: Int { 200 }

    mutating func beginReplay(
        _ wanted: Subscribe.Filter,
        _ filter: ParsedFilter,
        _ identifier: UInt32,
        isNew: Bool,
        _ s: Int
    ) {
        let subscription = Array(wanted.filter.utf8)
        sessions[s].replays.removeAll { $0.subscription == subscription }
        guard filter.group == nil, retained.count > 0 else { return }
        switch wanted.options.retainHandling {
        case .never: return  // [MQTT-3.3.1-11]
        case .ifNew where !isNew: return  // [MQTT-3.3.1-10]
        default: break
        }
        sessions[s].replays.append(
            RetainedReplay(
                subscription: subscription,
                filter: filter.filter,
                options: wanted.options,
                identifier: identifier,
                versionMax: retained.version
            )
        )
    }

    /// One step of the oldest replay. False where nothing more can be sent now.
    mutating func continueReplay(_ s: Int, _ c: Int) -> Bool {
        guard let replay = sessions[s].replays.first else { return false }
        guard sessions[s].state.outbound.queued < Self.replayQueuedMax else { return false }
        // What there is no room for is still owed, and comes once the client has taken what came before.
        guard replay.options.qos == .atMostOnce || hasRoom(s) else { return false }
        guard takesMore(c) else {
            becomeHungry(c)
            return false
        }
        switch retained.next(after: replay.key, matching: replay.filter, budget: &budget) {
        case .more(let key):
            sessions[s].replays[0].key = key
            becomeHungry(c)
            return false
        case .exhausted:
            sessions[s].replays.removeFirst()
            return true
        case .found(let found):
            let key = Array(found.message.topic.utf8)
            sessions[s].replays[0].key = key
            let wasPulled = sessions[s].replays[0].pulledForward.remove(key) != nil
            if !wasPulled { deliverRetained(found, replay, s) }
            return true
        }
    }

    /// A live message follows: what its topic is still owed goes first, so that the order of the topic holds.
    mutating func pullForward(_ topic: Span<UInt8>, _ s: Int) {
        guard let found = retained.get(topic) else { return }
        // First all are marked, then they are sent: sending may bring the oldest replay to its end.
        var owing: [RetainedReplay] = []
        for (at, replay) in sessions[s].replays.enumerated() {
            let isAhead = RetainedMessages.order(topic, replay.key.span) > 0
            guard isAhead, found.version <= replay.versionMax, RetainedMessages.matches(topic, replay.filter) else {
                continue
            }
            if sessions[s].replays[at].pulledForward.insert(topic.toArray()).inserted { owing.append(replay) }
        }
        for replay in owing { deliverRetained(found, replay, s) }
    }

    private func isPublisher(_ s: Int, of message: Message) -> Bool {
        message.publisher?.utf8.elementsEqual(sessions[s].state.clientID.utf8) ?? false
    }

    private mutating func deliverRetained(_ found: Retained, _ replay: RetainedReplay, _ s: Int) {
        let message = found.message
        guard found.version <= replay.versionMax else { return }
        guard message.expiresAt > now else {
            let bytes = message.bytes
            retained.remove(bytes.span.extracting(message.view.topic))
            change(.retainedCleared(topic: message.topic))
            return
        }
        if replay.options.noLocal && isPublisher(s, of: message) { return }  // [MQTT-3.8.3-3]
        let bytes = message.bytes
        var publication = Publication(message)
        let receiver = Receiver(
            session: Int32(s),
            qos: replay.options.qos,
            retainAsPublished: true,
            scope: .always,
            identifiers: replay.identifier > 0 ? [replay.identifier] : []
        )
        statistics.copiesRouted &+= 1
        _ = deliverOwed(bytes.span, message.view, &publication, to: receiver)
    }
}
