// Runs a function on libuv's pool and settles a promise with what another function makes of its result on the main thread.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "napi.h"

template <typename Result>
class PromiseWorker : public Napi::AsyncWorker {
  public:
    using Work = std::function<Result()>;
    using Convert = std::function<Napi::Value(Napi::Env, Result &)>;

    // keepAlive: the JS object whose native side the work uses.
    static Napi::Promise start(Napi::Object keepAlive, Work work, Convert convert) {
        auto * worker = new PromiseWorker(keepAlive, std::move(work), std::move(convert));
        const auto promise = worker->deferred_.Promise();
        worker->Queue();  // from here on libuv owns it; it deletes itself when done
        return promise;
    }

  private:
    PromiseWorker(Napi::Object keepAlive, Work work, Convert convert) :
        Napi::AsyncWorker(keepAlive.Env()),
        deferred_(Napi::Promise::Deferred::New(keepAlive.Env())),
        keepAlive_(Napi::Persistent(keepAlive)),
        work_(std::move(work)),
        convert_(std::move(convert)) {}

    void Execute() override {
        try {
            result_ = work_();
        } catch (const std::exception & error) {
            SetError(error.what());
        } catch (...) {
            SetError("a native exception of unknown type");
        }
    }

    void OnOK() override {
        try {
            deferred_.Resolve(convert_(Env(), result_));
        } catch (const Napi::Error & error) {
            deferred_.Reject(error.Value());
        } catch (const std::exception & error) {
            deferred_.Reject(Napi::Error::New(Env(), error.what()).Value());
        }
    }

    void OnError(const Napi::Error & error) override { deferred_.Reject(error.Value()); }

    Napi::Promise::Deferred deferred_;
    Napi::ObjectReference keepAlive_;
    Work work_;
    Convert convert_;
    Result result_{};
};

// The flag is true until what this returns is gone, with all its copies: a worker's work goes, on the main thread, when its promise
// has settled.
inline std::shared_ptr<bool> takeTurn(const std::shared_ptr<bool> & running) {
    *running = true;
    return { running.get(), [running](bool * flag) { *flag = false; } };
}
