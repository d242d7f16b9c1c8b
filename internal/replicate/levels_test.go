package replicate_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sersync/internal/hook"
	"sersync/internal/replicate"
	"sersync/internal/transport"
)

// Two hooks look at different times. Who is told that a target is down is told that it is up, however soon.
func TestTargetThatIsUpAgainSoonIsToldToWhomWasToldThatItIsDown(t *testing.T) {
	down, up, late := &listener{}, &listener{}, &listener{}
	downs := replicate.HookOptions{Name: "down", On: hook.TargetDown, Hook: down}
	inBubble(t, func(f *fake) { f.opts.Hooks = []replicate.HookOptions{downs} }, func(f *fake) {
		f.rest(950 * time.Millisecond)
		f.opts.Hooks = []replicate.HookOptions{
			downs, {Name: "up", On: hook.TargetUp, Hook: up}, {Name: "late", On: hook.TargetUp, After: time.Minute, Hook: late},
		}
		f.opts.Targets[0].Transport = &fakeTransport{} // that of a target that did not change is not used
		if err := f.src.Reload(f.opts); err != nil {
			f.Fatal(err)
		}
		one := f.targets["one"]
		for times := 1; times < 4; times++ {
			f.rest(10 * time.Millisecond) // after the second hook looked, and before the first one does
			one.set(func(context.Context, transport.Batch) (transport.Report, error) {
				return transport.Report{}, &transport.Error{Kind: transport.Away, Err: errors.New("away")}
			})
			f.write("f")
			f.rest(60 * time.Millisecond)
			if n := len(down.heard()); n != times {
				t.Errorf("that it is down was told %d times, not %d", n, times)
			}
			one.set(nil)
			f.rest(9930 * time.Millisecond)
			if n := len(up.heard()); n != times {
				t.Errorf("that it is up was told %d times, not %d", n, times)
			}
		}
		if n := len(late.heard()); n != 0 {
			t.Errorf("who asks for outages of a minute was told %d times", n)
		}
	})
}
