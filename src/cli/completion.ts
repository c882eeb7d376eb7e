import type { CommandModule } from 'yargs';
import { RelayError } from '../protocol/errors.ts';
import type { CommandContext } from './io.ts';

const BASH = `# relay completion for bash: source <(relay completion bash)
_relay_completions() {
  local reply
  mapfile -t reply < <(SHELL=bash ZSH_NAME= "\${COMP_WORDS[0]}" --get-yargs-completions "\${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null)
  mapfile -t COMPREPLY < <(compgen -W "\${reply[*]}" -- "\${COMP_WORDS[COMP_CWORD]}")
}
complete -o bashdefault -o default -F _relay_completions relay
`;

const ZSH = `#compdef relay
# relay completion for zsh: source <(relay completion zsh)
_relay_completions() {
  local -a reply
  reply=("\${(@f)$(SHELL=zsh "\${words[1]}" --get-yargs-completions "\${(@)words[1,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${reply[*]}" ]]; then
    _describe 'relay' reply
  else
    _default
  fi
}
if [[ "\${zsh_eval_context[-1]}" == loadautofunc ]]; then
  _relay_completions "$@"
else
  compdef _relay_completions relay
fi
`;

const SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH };

/** `relay completion`: prints what a shell has to read to complete the command line of relay. */
export function completionCommand({ io }: CommandContext): CommandModule {
  return {
    command: 'completion [shell]',
    describe: 'Print a completion script for bash or zsh',
    builder: (yargs) =>
      yargs
        .usage('$0 completion [bash|zsh]')
        .positional('shell', { describe: 'By default that of $SHELL' })
        .example('source <($0 completion bash)', 'in ~/.bashrc')
        .example('source <($0 completion zsh)', 'in ~/.zshrc'),
    handler: ({ shell }) => {
      const chosen = typeof shell === 'string' ? shell : io.surroundings.env.SHELL?.includes('zsh') ? 'zsh' : 'bash';
      const script = Object.hasOwn(SCRIPTS, chosen) ? SCRIPTS[chosen] : undefined;
      if (script === undefined)
        throw new RelayError('usage', `there is a script for bash and for zsh, none for ${chosen}`);
      io.stdout.write(script);
    },
  };
}
