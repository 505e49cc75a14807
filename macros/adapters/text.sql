{# Whether a text matches a regular expression anywhere in it. #}
{% macro matches(text, pattern) -%}
    {{ return(adapter.dispatch('matches', 'revetl')(text, pattern)) }}
{%- endmacro %}

{% macro default__matches(text, pattern) -%}
    ({{ text }} ~ '{{ pattern }}')
{%- endmacro %}

{% macro duckdb__matches(text, pattern) -%}
    regexp_matches({{ text }}, '{{ pattern }}')
{%- endmacro %}

{# A backslash in a text is written twice. #}
{% macro snowflake__matches(text, pattern) -%}
    (regexp_instr({{ text }}, '{{ pattern | replace('\\', '\\\\') }}') > 0)
{%- endmacro %}

{# A quote in a text is written by a backslash, and a backslash twice. #}
{% macro bigquery__matches(text, pattern) -%}
    regexp_contains({{ text }}, '{{ pattern | replace('\\', '\\\\') | replace("''", "\\'") }}')
{%- endmacro %}

{% macro redshift__matches(text, pattern) -%}
    ({{ text }} ~ '{{ pattern | replace('\\', '\\\\') }}')
{%- endmacro %}

{% macro fabric__matches(text, pattern) -%}
    regexp_like({{ text }}, '{{ pattern }}')
{%- endmacro %}

{% macro spark__matches(text, pattern) -%}
    regexp_like({{ text }}, {{ revetl.text_literal(revetl.java_pattern(pattern | replace("''", "'"))) }})
{%- endmacro %}

{# A pattern as Java means the same by it: `$` is the end of the text and not also before a last line feed, lines end
   by a line feed only, what is of any case is so in every alphabet, and classes have other names and no other in
   them. #}
{% macro java_pattern(pattern) -%}
    {% set read = namespace(given=pattern, java='(?du)', is_escaped=false, is_class=false) -%}
    {% for class in ['Alpha', 'Digit', 'Alnum', 'Upper', 'Lower', 'Punct', 'Space', 'Blank', 'Graph', 'Print', 'Cntrl',
        'XDigit'] -%}
        {% set read.given = read.given | replace('[:' ~ class | lower ~ ':]', '\\p{' ~ class ~ '}') -%}
    {% endfor -%}
    {% for character in read.given -%}
        {% set is_special = not read.is_escaped and character == ('[' if read.is_class else '$') -%}
        {% set read.java = read.java ~ (('\\[' if read.is_class else '\\z') if is_special else character) -%}
        {% if not read.is_escaped and character in '[]' -%}
            {% set read.is_class = character == '[' -%}
        {% endif -%}
        {% set read.is_escaped = character == '\\' and not read.is_escaped -%}
    {% endfor -%}
    {{ return(read.java) }}
{%- endmacro %}

{# A text with every match of a regular expression replaced. #}
{% macro replace_matches(text, pattern, replacement) -%}
    {{ return(adapter.dispatch('replace_matches', 'revetl')(
        text, pattern | replace("'", "''"), replacement | replace("'", "''"))) }}
{%- endmacro %}

{% macro default__replace_matches(text, pattern, replacement) -%}
    regexp_replace({{ text }}, '{{ pattern }}', '{{ replacement }}', 'g')
{%- endmacro %}

{% macro snowflake__replace_matches(text, pattern, replacement) -%}
    regexp_replace({{ text }}, '{{ pattern | replace('\\', '\\\\') }}', '{{ replacement | replace('\\', '\\\\') }}')
{%- endmacro %}

{% macro bigquery__replace_matches(text, pattern, replacement) -%}
    regexp_replace(
        {{ text }},
        '{{ pattern | replace('\\', '\\\\') | replace("''", "\\'") }}',
        '{{ replacement | replace('\\', '\\\\') | replace("''", "\\'") }}'
    )
{%- endmacro %}

{# What a group matched is `$1` in what takes its place. #}
{% macro redshift__replace_matches(text, pattern, replacement) -%}
    regexp_replace({{ text }}, '{{ pattern | replace('\\', '\\\\') }}', '{{ replacement | replace('\\', '$') }}')
{%- endmacro %}

{# What a group matched is `$1` in what takes its place. #}
{% macro spark__replace_matches(text, pattern, replacement) -%}
    {% set replacement = modules.re.sub('\\\\([0-9])', '$\\1', replacement | replace('$', '\\$')) -%}
    regexp_replace(
        {{ text }},
        {{ revetl.text_literal(revetl.java_pattern(pattern | replace("''", "'"))) }},
        {{ revetl.text_literal(replacement | replace("''", "'")) }}
    )
{%- endmacro %}

{% macro fabric__replace_matches(text, pattern, replacement) -%}
    regexp_replace({{ text }}, '{{ pattern }}', '{{ replacement }}')
{%- endmacro %}

{# A text without the characters around it that nobody sees: see `trimmable_characters`. #}
{% macro trimmed(text) -%}
    {{ return(adapter.dispatch('trimmed', 'revetl')(text)) }}
{%- endmacro %}

{# The code points that are trimmed wherever values are compared, in SQL and in Python: control characters (tab and
   line ends among them) and the space, what Unicode calls spaces, the line and paragraph separators, and characters of
   no width (the soft hyphen, marks of direction, the word joiner and the byte order mark among them). No text of a
   warehouse has U+0000. #}
{% macro trimmable_characters() -%}
    {{ return((range(1, 33) | list) + (range(127, 161) | list) + [173, 5760, 6158] + (range(8192, 8208) | list)
        + (range(8232, 8240) | list) + (range(8287, 8293) | list) + [12288, 65279]) }}
{%- endmacro %}

{# They in four hexadecimal digits each. dbt v2 has no '%x' of a number, and leaves '{:x}'.format(…) as it is. #}
{% macro trimmable_codes() -%}
    {% set digits, codes = '0123456789abcdef', [] -%}
    {% for code in revetl.trimmable_characters() -%}
        {% do codes.append(digits[code // 4096] ~ digits[code // 256 % 16] ~ digits[code // 16 % 16] ~ digits[code % 16]) -%}
    {% endfor -%}
    {{ return(codes) }}
{%- endmacro %}

{# They as a literal of an engine that knows a code point by four hexadecimal digits behind a mark. #}
{% macro trimmable_literal(mark) -%}
    {% set escaped = [] -%}
    {% for code in revetl.trimmable_codes() -%}
        {% do escaped.append(' ' if code == '0020' else mark ~ code) -%}
    {% endfor -%}
    {{ return("'" ~ escaped | join ~ "'") }}
{%- endmacro %}

{% macro default__trimmed(text) -%}
    trim({{ text }}, {{ revetl.trimmable_literal('\\u') }})
{%- endmacro %}

{# By a pattern: its trim with characters makes a set of them for each row, which takes ten times as long. Of a column,
   the usual case, its first and last character are looked at before, in a third of the time. #}
{% macro duckdb__trimmed(text) -%}
    {% set seen = '\\x{' ~ revetl.trimmable_codes() | join('}\\x{') ~ '}' -%}
    {% set made = "regexp_replace(" ~ text ~ ", '^[" ~ seen ~ "]+|[" ~ seen ~ "]+$', '', 'g')" -%}
    {% if not modules.re.fullmatch('[a-z0-9_.]+', text) -%}
        {{ return(made) }}
    {% endif -%}
    {{ return('case when left(' ~ text ~ ", 1) between '!' and '~' and right(" ~ text ~ ", 1) between '!' and '~' then "
        ~ text ~ ' else ' ~ made ~ ' end') }}
{%- endmacro %}

{% macro postgres__trimmed(text) -%}
    btrim({{ text }}, U&{{ revetl.trimmable_literal('\\') }})
{%- endmacro %}

{# No literal of it has an escape for a code point, and its chr() is for ASCII. #}
{% macro redshift__trimmed(text) -%}
    {% set codes, plain, all = [], [], revetl.trimmable_codes() -%}
    {% for code in revetl.trimmable_characters() -%}
        {% if code < 32 -%}
            {% do codes.append('chr(' ~ code ~ ')') -%}
        {% else -%}
            {% do plain.append('\\u' ~ all[loop.index0]) -%}
        {% endif -%}
    {% endfor -%}
    btrim({{ text }}, {{ codes | join(' || ') }} || '{{ fromjson('"' ~ plain | join ~ '"') }}')
{%- endmacro %}

{% macro spark__trimmed(text) -%}
    trim(both {{ revetl.trimmable_literal('\\u') }} from {{ text }})
{%- endmacro %}

{% macro fabric__trimmed(text) -%}
    {% set codes = [] -%}
    {% for code in revetl.trimmable_characters() -%}
        {% do codes.append('nchar(' ~ code ~ ')') -%}
    {% endfor -%}
    trim(concat({{ codes | join(', ') }}) from {{ text }})
{%- endmacro %}

{# A text to order by, so that it is ordered by code points. #}
{% macro by_code_point(text) -%}
    {{ return(adapter.dispatch('by_code_point', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__by_code_point(text) -%}
    {{ text }}
{%- endmacro %}

{% macro redshift__by_code_point(text) -%}
    {{ text }}
{%- endmacro %}

{# Synapse has the order of a language where nobody said otherwise. #}
{% macro fabric__by_code_point(text) -%}
    {{ text }} collate Latin1_General_100_BIN2_UTF8
{%- endmacro %}

{# A database has the order of some language. #}
{% macro postgres__by_code_point(text) -%}
    {{ text }} collate "C"
{%- endmacro %}

{# In an aggregate: the least text by code points. #}
{% macro min_text(text) -%}
    {{ return(adapter.dispatch('min_text', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__min_text(text) -%}
    min({{ text }})
{%- endmacro %}

{% macro redshift__min_text(text) -%}
    min({{ text }})
{%- endmacro %}

{% macro fabric__min_text(text) -%}
    min({{ revetl.by_code_point(text) }})
{%- endmacro %}

{% macro postgres__min_text(text) -%}
    (min({{ text }} collate "C") collate "default")
{%- endmacro %}

{# A text as SQL writes it. #}
{% macro text_literal(text) -%}
    {{ return(adapter.dispatch('text_literal', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__text_literal(text) -%}
    '{{ text | replace("'", "''") }}'
{%- endmacro %}

{# A backslash is written twice. #}
{% macro snowflake__text_literal(text) -%}
    '{{ text | replace('\\', '\\\\') | replace("'", "''") }}'
{%- endmacro %}

{% macro spark__text_literal(text) -%}
    '{{ text | replace('\\', '\\\\') | replace("'", "\\'") }}'
{%- endmacro %}

{% macro bigquery__text_literal(text) -%}
    '{{ text | replace('\\', '\\\\') | replace("'", "\\'") }}'
{%- endmacro %}

{% macro redshift__text_literal(text) -%}
    '{{ text | replace('\\', '\\\\') | replace("'", "''") }}'
{%- endmacro %}

{# In an aggregate: the greatest text by code points. #}
{% macro max_text(text) -%}
    {{ return(adapter.dispatch('max_text', 'revetl')(text)) }}
{%- endmacro %}

{% macro default__max_text(text) -%}
    max({{ text }})
{%- endmacro %}

{% macro redshift__max_text(text) -%}
    max({{ text }})
{%- endmacro %}

{% macro fabric__max_text(text) -%}
    max({{ revetl.by_code_point(text) }})
{%- endmacro %}

{% macro postgres__max_text(text) -%}
    (max({{ text }} collate "C") collate "default")
{%- endmacro %}

{# A text from its character of some number, from 1, to its end. #}
{% macro text_from(text, place) -%}
    {{ return(adapter.dispatch('text_from', 'revetl')(text, place)) }}
{%- endmacro %}

{% macro default__text_from(text, place) -%}
    substring({{ text }}, {{ place }})
{%- endmacro %}

{% macro fabric__text_from(text, place) -%}
    substring({{ text }}, {{ place }}, 8000)
{%- endmacro %}
