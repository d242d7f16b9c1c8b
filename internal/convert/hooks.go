package convert

import (
	"github.com/goccy/go-yaml"

	"sersync/internal/config"
)

// hookKeys are the hooks of a source. All that there are to convert are plugins of 2.5.4.
func hookKeys(hooks []config.Hook, base config.Hook) []yaml.MapSlice {
	var list []yaml.MapSlice
	for _, h := range hooks {
		k := keys{{Key: "name", Value: h.Name}, {Key: "on", Value: string(h.On)}}
		k.nest("plugin", pluginKeys(*h.Plugin))
		var batch keys
		batch.add("paths", h.Batch.Paths, base.Batch.Paths)
		batch.add("wait", duration(h.Batch.Wait), duration(base.Batch.Wait))
		k.nest("batch", batch)
		list = append(list, yaml.MapSlice(k))
	}
	return list
}

func pluginKeys(p config.Plugin) keys {
	k := keys{{Key: "name", Value: p.Name}}
	k.add("path", p.Path, "")
	switch p.Name {
	case "command":
		k = append(k, yaml.MapItem{Key: "prefix", Value: p.Prefix})
		k.add("suffix", p.Suffix, "")
		k.add("ignore_error", p.IgnoreError, false)
		if len(p.Include) > 0 {
			k = append(k, yaml.MapItem{Key: "include", Value: p.Include})
		}
	case "refreshCDN":
		k.add("host", p.Host, "")
		k.add("port", p.Port, 0)
		k.add("user", p.User, "")
		k.add("password_file", p.PasswordFile, "")
		k.add("base", p.URL, "")
		k.add("match", p.Match, "")
	default:
		k.add("url", p.URL, "")
		k.add("host", p.Host, "")
		k.add("port", p.Port, 0)
	}
	return k
}
